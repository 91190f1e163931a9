"""Rivals that are libraries: FAISS, scikit-learn and usearch search; SimSIMD and NumKong only score."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from idsim.benchmark.products import merge, torch_topk
from idsim.benchmark.tools import Float32, Ids, Setting, Tool, one_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["tools"]

PANORAMA_LEVELS = 8
TRAINING_ROWS = 50_000
SCORE_BYTES = 256 << 20


def _library(name: str) -> Any:
    return importlib.import_module(name)


def _keep(gallery: Float32, threads: int) -> tuple[Float32, int]:
    return gallery, threads


# --- FAISS ------------------------------------------------------------------------------------------------


def _faiss_settings(queries: int, _rows: int) -> Sequence[Setting]:
    """Return FAISS's own choice, then its BLAS path forced with several block sizes."""
    blocks = [(4096, 256), (4096, 1024), (4096, 4096)]
    if queries > 64:
        blocks += [(256, 4096), (1024, 16_384)]
    forced = [{"blas_threshold": 1, "query_block": q, "row_block": n} for q, n in blocks]
    return [{}, *forced]


def _search_faiss(state: Any, queries: Float32, k: int, setting: Setting) -> Ids:
    """Search as IndexFlatIP does, without its copy of the gallery."""
    faiss = _library("faiss")
    values = faiss.cvar
    before = (
        values.distance_compute_blas_threshold,
        values.distance_compute_blas_query_bs,
        values.distance_compute_blas_database_bs,
    )
    if setting:
        values.distance_compute_blas_threshold = setting["blas_threshold"]
        values.distance_compute_blas_query_bs = setting["query_block"]
        values.distance_compute_blas_database_bs = setting["row_block"]
    try:
        return np.asarray(faiss.knn(queries, state[0], k, metric=faiss.METRIC_INNER_PRODUCT)[1])
    finally:
        values.distance_compute_blas_threshold = before[0]
        values.distance_compute_blas_query_bs = before[1]
        values.distance_compute_blas_database_bs = before[2]


def _prepare_panorama(gallery: Float32, _threads: int) -> Any:
    index = _library("faiss").IndexFlatIPPanorama(gallery.shape[1], PANORAMA_LEVELS)
    index.add(gallery)
    return index


def _quantized(kind: str) -> Callable[[Float32, int], Any]:
    def prepare(gallery: Float32, _threads: int) -> Any:
        faiss = _library("faiss")
        code = getattr(faiss.ScalarQuantizer, kind)
        index = faiss.IndexScalarQuantizer(gallery.shape[1], code, faiss.METRIC_INNER_PRODUCT)
        index.train(gallery[:TRAINING_ROWS])
        index.add(gallery)
        return index

    return prepare


def _search_faiss_index(index: Any, queries: Float32, k: int, _setting: Setting) -> Ids:
    return np.asarray(index.search(queries, k)[1], dtype=np.int64)


# --- scikit-learn and usearch -----------------------------------------------------------------------------


def _prepare_sklearn(gallery: Float32, _threads: int) -> Any:
    neighbors = _library("sklearn.neighbors")
    # On unit rows the nearest by squared distance are the nearest by cosine; this metric has the
    # faster path.
    return neighbors.NearestNeighbors(algorithm="brute", metric="sqeuclidean").fit(gallery)


def _search_sklearn(model: Any, queries: Float32, k: int, _setting: Setting) -> Ids:
    return np.asarray(model.kneighbors(queries, k, return_distance=False), dtype=np.int64)


def _int8(rows: Float32) -> npt.NDArray[np.int8]:
    scale = 127.0 / float(np.abs(rows).max())
    codes = np.empty(rows.shape, np.int8)
    for start in range(0, len(rows), 65_536):
        codes[start : start + 65_536] = np.rint(rows[start : start + 65_536] * scale)
    return codes


def _usearch(state: Any, queries: Any, k: int) -> Ids:
    index = _library("usearch.index")
    gallery, threads = state
    found = index.search(gallery, queries, k, index.MetricKind.IP, exact=True, threads=threads)
    return np.asarray(found.keys).astype(np.int64).reshape(len(queries), k)


def _search_usearch(state: Any, queries: Float32, k: int, _setting: Setting) -> Ids:
    return _usearch(state, queries, k)


def _prepare_usearch_int8(gallery: Float32, threads: int) -> Any:
    return _int8(gallery), threads


def _search_usearch_int8(state: Any, queries: Float32, k: int, _setting: Setting) -> Ids:
    return _usearch(state, _int8(queries), k)


# --- SimSIMD and NumKong: scores only, the selection is PyTorch's or NumPy's ------------------------------


def _select(scores: npt.NDArray[Any], k: int) -> tuple[npt.NDArray[Any], Ids]:
    """Return (scores, columns) of the k largest of each row of [q, c]."""
    if find_spec("torch") is None:
        best = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
        return np.take_along_axis(scores, best, axis=1), best
    values, columns = torch_topk(_library("torch").from_numpy(scores), k)
    return values.numpy(), columns.numpy()


def _simsimd_settings(queries: int, _rows: int) -> Sequence[Setting]:
    return [{"first": "queries"}] if queries == 1 else [{"first": "queries"}, {"first": "gallery"}]


def _search_simsimd(state: Any, queries: Float32, k: int, setting: Setting) -> Ids:
    simsimd = _library("simsimd")
    gallery, threads = state
    step = max(k, min(len(gallery), SCORE_BYTES // (4 * len(queries)) // 64 * 64))
    parts = []
    for start in range(0, len(gallery), step):
        rows = gallery[start : start + step]
        left, right = (queries, rows) if setting["first"] == "queries" else (rows, queries)
        scores = np.empty((len(left), len(right)), dtype=np.float32)
        simsimd.cdist(left, right, "inner", threads=threads, out=scores, out_dtype="float32")
        by_query = scores if left is queries else np.ascontiguousarray(scores.T)
        best, columns = _select(by_query, min(k, len(rows)))
        parts.append((best, columns + start))
    return parts[0][1] if len(parts) == 1 else merge(parts, k)


def _numkong_bfloat16(rows: Float32) -> Any:
    torch = _library("torch")
    return _library("numkong").from_dlpack(torch.from_numpy(rows).to(torch.bfloat16))


def _as_is(rows: Float32) -> Any:
    return rows


def _numkong(convert: Callable[[Float32], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return prepare and search; the gallery is packed in one part per thread."""

    def prepare(gallery: Float32, threads: int) -> Any:
        pack = _library("numkong").dots_pack
        parts = [(pack(convert(part)), len(part)) for part in np.array_split(gallery, threads)]
        return parts, ThreadPoolExecutor(threads)

    def search(state: Any, queries: Float32, k: int, _setting: Setting) -> Ids:
        packed = _library("numkong").dots_packed
        parts, pool = state
        starts = np.cumsum([0, *(size for _, size in parts)])
        step = max(1, SCORE_BYTES // (8 * max(size for _, size in parts)))
        found = []
        for first in range(0, len(queries), step):
            block = convert(queries[first : first + step])
            scores = pool.map(lambda part: np.asarray(packed(block, part[0])), parts)  # noqa: B023
            chosen = [_select(np.asarray(each), min(k, each.shape[1])) for each in scores]
            found.append(merge([(v, ids + starts[place]) for place, (v, ids) in enumerate(chosen)], k))
        return np.concatenate(found)

    return prepare, search


def tools() -> list[Tool]:
    """Return the rivals of this module."""
    numkong32, numkong16, numkong8 = (_numkong(way) for way in (_as_is, _numkong_bfloat16, _int8))
    return [
        Tool("faiss flat", ("faiss",), True, "float32", 4, _keep, _search_faiss, _faiss_settings),
        Tool("faiss panorama", ("faiss",), True, "float32", 4, _prepare_panorama,
             _search_faiss_index, one_setting, linear=True, one_shot=False),
        Tool("simsimd", ("simsimd",), True, "float32", 4, _keep, _search_simsimd, _simsimd_settings,
             linear=True),
        Tool("scikit-learn", ("sklearn",), True, "float32", 4, _prepare_sklearn, _search_sklearn,
             one_setting),
        Tool("usearch float32", ("usearch",), True, "float32", 4, _keep, _search_usearch,
             one_setting, linear=True),
        Tool("numkong float32", ("numkong",), True, "float32", 4, *numkong32, one_setting,
             linear=True, one_shot=False),
        Tool("numkong bfloat16", ("numkong", "torch"), False, "bfloat16", 2, *numkong16, one_setting,
             linear=True, one_shot=False),
        Tool("numkong int8", ("numkong",), False, "int8", 1, *numkong8, one_setting, linear=True,
             one_shot=False),
        Tool("usearch int8", ("usearch",), False, "int8", 1, _prepare_usearch_int8,
             _search_usearch_int8, one_setting, linear=True, one_shot=False),
        Tool("faiss sq bfloat16", ("faiss",), False, "bfloat16", 2, _quantized("QT_bf16"),
             _search_faiss_index, one_setting, linear=True, one_shot=False),
        Tool("faiss sq8", ("faiss",), False, "int8", 1, _quantized("QT_8bit"), _search_faiss_index,
             one_setting, linear=True, one_shot=False),
    ]  # fmt: skip
