"""Rivals made of a matrix product and a selection: NumPy and PyTorch, float32, bfloat16 and int8.

Both orientations of the product, several chunk sizes and ways to select are offered as settings, and
the scores land in a buffer that is kept between calls, as a patient user would have it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from idsim.benchmark.tools import Float32, Ids, Setting, Tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["merge", "tools", "torch_topk"]

# One float32 score matrix of this size and its selection still fit beside a gallery of 2 GB.
WHOLE_MATRIX_BYTES = 1 << 30
CHUNKS = (16_384, 65_536, 262_144)
SPLIT_PARTS = 64


def product_settings(queries: int, rows: int) -> Sequence[Setting]:
    """Return orientation and chunk of the product; chunk 0 is the whole gallery at once."""
    chunks = [chunk for chunk in CHUNKS if chunk < rows]
    if 4 * queries * rows <= WHOLE_MATRIX_BYTES or not chunks:
        chunks = [0, *chunks]
    chunks = [chunk for chunk in chunks if 4 * queries * max(chunk, 1) <= WHOLE_MATRIX_BYTES]
    return [{"scores": layout, "chunk": chunk} for chunk in chunks for layout in ("q,n", "n,q")]


def merge(
    parts: Sequence[tuple[npt.NDArray[Any], Ids]], k: int, pool: ThreadPoolExecutor | None = None
) -> Ids:
    """Return ids [q, k] of the best of several parts' (scores [q, .], ids [q, .]), best first."""
    scores = np.concatenate([part[0] for part in parts], axis=1)
    ids = np.concatenate([part[1] for part in parts], axis=1)
    best = _largest(scores, k, pool)
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    result: Ids = np.take_along_axis(ids, np.take_along_axis(best, order, axis=1), axis=1)
    return result


def _largest(
    scores: npt.NDArray[Any], k: int, pool: ThreadPoolExecutor | None, workers: int = 2
) -> npt.NDArray[np.intp]:
    """Return the columns of the k largest of each row, in any order; rows are shared out."""
    width = scores.shape[1]
    if k >= width:
        return np.broadcast_to(np.arange(width), scores.shape)
    if pool is None or len(scores) < workers:
        return np.argpartition(scores, width - k, axis=1)[:, width - k :]
    parts = np.array_split(scores, workers)
    return np.concatenate(
        list(pool.map(lambda part: np.argpartition(part, width - k, axis=1)[:, width - k :], parts))
    )


@dataclass
class _Rows:
    """A prepared gallery of a product: the rows as the library has them, and a score buffer."""

    values: Any
    threads: int
    scale: float = 1.0
    buffer: Any = None
    pool: ThreadPoolExecutor | None = field(default=None)


def _spans(rows: int, chunk: int) -> Iterator[tuple[int, int]]:
    step = chunk or rows
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


# --- NumPy ------------------------------------------------------------------------------------------------


def _prepare_numpy(gallery: Float32, threads: int) -> _Rows:
    return _Rows(gallery, threads, pool=ThreadPoolExecutor(threads))


def _search_numpy(state: _Rows, queries: Float32, k: int, setting: Setting) -> Ids:
    gallery = state.values
    step = setting["chunk"] or len(gallery)
    if state.buffer is None or state.buffer.size < step * len(queries):
        state.buffer = np.empty(step * len(queries), dtype=np.float32)
    parts = []
    for start, stop in _spans(len(gallery), setting["chunk"]):
        flat = state.buffer[: (stop - start) * len(queries)]
        if setting["scores"] == "q,n":
            scores = np.matmul(queries, gallery[start:stop].T, out=flat.reshape(len(queries), -1))
        else:
            scores = np.matmul(gallery[start:stop], queries.T, out=flat.reshape(-1, len(queries))).T
        best = _largest(scores, min(k, stop - start), state.pool, state.threads)
        parts.append((np.take_along_axis(scores, best, axis=1), best + start))
    return merge(parts, k, state.pool)


# --- PyTorch ----------------------------------------------------------------------------------------------


def torch_topk(scores: Any, k: int) -> tuple[Any, Any]:
    """Return the k largest of each row of a [q, c] tensor; few long rows are split among threads."""
    count, width = scores.shape
    per_part = width // SPLIT_PARTS
    if count >= SPLIT_PARTS or width % SPLIT_PARTS or per_part < 4 * k or not scores.is_contiguous():
        values, columns = scores.topk(k, dim=1)
        return values, columns
    split_values, split_columns = scores.view(count * SPLIT_PARTS, per_part).topk(k, dim=1)
    values, places = split_values.view(count, -1).topk(k, dim=1)
    columns = split_columns.view(count, -1).gather(1, places)
    return values, columns + (places // k) * per_part


def _product(state: _Rows, left: Any, right: Any) -> Any:
    """Return left @ right.T in the kept buffer."""
    import torch

    integer = left.dtype == torch.int8
    dtype = torch.int32 if integer else left.dtype
    size = len(left) * len(right)
    if state.buffer is None or state.buffer.numel() < size:
        state.buffer = torch.empty(size, dtype=dtype)
    out = state.buffer[:size].view(len(left), len(right))
    if integer:
        return torch._int_mm(left, right.T, out=out)
    return torch.mm(left, right.T, out=out)


def _search_torch(state: _Rows, queries: Any, k: int, setting: Setting) -> Ids:
    import torch

    values, ids = [], []
    for start, stop in _spans(len(state.values), setting["chunk"]):
        rows = state.values[start:stop]
        width = min(k, stop - start)
        if setting["scores"] == "q,n":
            best, columns = torch_topk(_product(state, queries, rows), width)
        else:
            best, columns = (part.T for part in _product(state, rows, queries).topk(width, dim=0))
        values.append(best)
        ids.append(columns + start)
    if len(values) == 1:
        return np.asarray(ids[0].numpy(), dtype=np.int64)
    places = torch.cat(values, dim=1).topk(k, dim=1).indices
    return np.asarray(torch.cat(ids, dim=1).gather(1, places).numpy(), dtype=np.int64)


def _torch_float32(gallery: Float32, threads: int) -> _Rows:
    import torch

    return _Rows(torch.from_numpy(gallery), threads)


def _search_torch_float32(state: _Rows, queries: Float32, k: int, setting: Setting) -> Ids:
    import torch

    return _search_torch(state, torch.from_numpy(queries), k, setting)


def _torch_bfloat16(gallery: Float32, threads: int) -> _Rows:
    import torch

    return _Rows(torch.from_numpy(gallery).to(torch.bfloat16), threads)


def _search_torch_bfloat16(state: _Rows, queries: Float32, k: int, setting: Setting) -> Ids:
    import torch

    return _search_torch(state, torch.from_numpy(queries).to(torch.bfloat16), k, setting)


def _int8(rows: Float32) -> Any:
    """Return int8 codes with one scale for all rows."""
    import torch

    values = torch.from_numpy(rows)
    return (values * (127.0 / float(values.abs().max()))).round_().to(torch.int8)


def _torch_int8(gallery: Float32, threads: int) -> _Rows:
    return _Rows(_int8(gallery), threads)


def _search_torch_int8(state: _Rows, queries: Float32, k: int, setting: Setting) -> Ids:
    return _search_torch(state, _int8(queries), k, setting)


def tools() -> list[Tool]:
    """Return the rivals made of a product and a selection."""
    return [
        Tool("numpy", ("numpy",), True, "float32", 4, _prepare_numpy, _search_numpy, product_settings),
        Tool("torch float32", ("torch",), True, "float32", 4, _torch_float32, _search_torch_float32,
             product_settings),
        Tool("torch bfloat16", ("torch",), False, "bfloat16", 2, _torch_bfloat16,
             _search_torch_bfloat16, product_settings),
        Tool("torch int8", ("torch",), False, "int8", 1, _torch_int8, _search_torch_int8,
             product_settings),
    ]  # fmt: skip
