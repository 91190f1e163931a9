"""What searches on a device otherwise: products with a selection, and the libraries made for it.

All of them get rows that lie on the device and leave their ids there. A rival that is not installed, has no GPU part,
or does not take the case raises; the case's record then names it with the reason.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from idsim.benchmark.device_rows import DeviceRows, OnDevice, torch_module
from idsim.benchmark.tools import Float32, Setting, Tool, one_setting

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["rival_tools"]

CHUNKS = (65_536, 262_144, 1_048_576)  # gallery rows whose scores are selected from at a time
BLOCKS = (1024, 8192)  # queries at a time, where not all of them
SCORE_BYTES = 4 << 30  # most that a tool's matrix of scores may take
LEAST_INT8_ROWS = 32  # PyTorch wants more than 16 for an 8-bit product on a device


def product_settings(queries: int, rows: int) -> Sequence[Setting]:
    """Return what is worth a trial: whole, or in blocks of queries and chunks of rows that fit."""
    blocks = [queries, *(block for block in reversed(BLOCKS) if block < queries)]
    chunks = [rows, *(chunk for chunk in reversed(CHUNKS) if chunk < rows)]
    fitting = [{"block": b, "chunk": c} for b in blocks for c in chunks if 4 * b * c <= SCORE_BYTES]
    return fitting or [{"block": blocks[-1], "chunk": chunks[-1]}]


def few_settings(queries: int, rows: int) -> Sequence[Setting]:
    """Return the two largest that fit, for a library that compiles or sorts anew for each."""
    return product_settings(queries, rows)[:2]


class Product:
    """Scores by PyTorch's matrix product, chunk by chunk, and its topk over each chunk, then over their best.

    ``select=False`` is the bare product: what no search by products can be faster than. The vendor's product of 8-bit
    codes wants more than 16 rows; fewer queries are filled up with zeros.
    """

    def __init__(self, rows: DeviceRows, dtype: str, *, tf32: bool = False, select: bool = True) -> None:
        self.rows, self.dtype, self.tf32, self.select = rows, dtype, tf32, select

    def prepare(self, gallery: Float32, _threads: int) -> Any:
        return self.rows.gallery(gallery, self.dtype)

    def search(self, state: Any, queries: Float32, k: int, setting: Setting) -> Any:
        torch = torch_module()
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        q = self.rows.queries(queries)
        q = self.rows.codes(q) if self.dtype == "int8" else q.to(state.dtype)
        found = [self._block(part, state, k, setting["chunk"]) for part in q.split(setting["block"])]
        self.rows.wait()
        return OnDevice(torch.cat(found)) if self.select else None

    def _block(self, queries: Any, rows: Any, k: int, chunk: int) -> Any:
        torch = torch_module()
        best, ids = [], []
        for start in range(0, len(rows), chunk):
            scores = self._product(queries, rows[start : start + chunk].T)
            if self.select:
                values, at = scores.topk(min(k, scores.shape[1]), dim=1)
                best.append(values)
                ids.append(at + start)
        if not self.select or len(best) == 1:
            return ids[0] if self.select else None
        at = torch.cat(best, dim=1).topk(k, dim=1).indices
        return torch.cat(ids, dim=1).gather(1, at)

    def _product(self, queries: Any, columns: Any) -> Any:
        torch = torch_module()
        if self.dtype != "int8":
            return torch.mm(queries, columns)
        missing = max(0, LEAST_INT8_ROWS - len(queries))
        filled = torch.nn.functional.pad(queries, (0, 0, 0, missing)) if missing else queries
        return torch._int_mm(filled, columns)[: len(queries)]


class ArraySearch:
    """CuPy's product and argpartition (or NumPy's, which has the same names)."""

    def __init__(self, rows: DeviceRows, module: str) -> None:
        self.rows, self.module = rows, module

    def _library(self) -> Any:
        return import_module(self.module)

    def prepare(self, gallery: Float32, _threads: int) -> Any:
        return self._library().from_dlpack(self.rows.gallery(gallery))

    def search(self, state: Any, queries: Float32, k: int, setting: Setting) -> Any:
        xp = self._library()
        q = xp.from_dlpack(self.rows.queries(queries))
        found = []
        for first in range(0, len(q), setting["block"]):
            block = q[first : first + setting["block"]]
            parts = [
                self._best(block, state, k, at, setting["chunk"])
                for at in range(0, len(state), setting["chunk"])
            ]
            scores = xp.concatenate([part[0] for part in parts], axis=1)
            ids = xp.concatenate([part[1] for part in parts], axis=1)
            order = xp.argsort(-scores, axis=1)[:, :k]
            found.append(xp.take_along_axis(ids, order, axis=1))
        ids = xp.concatenate(found)
        self.rows.wait()
        return OnDevice(ids)

    def _best(self, queries: Any, rows: Any, k: int, start: int, chunk: int) -> tuple[Any, Any]:
        xp = self._library()
        scores = queries @ rows[start : start + chunk].T
        width = min(k, scores.shape[1])
        at = xp.argpartition(scores, scores.shape[1] - width, axis=1)[:, scores.shape[1] - width :]
        return xp.take_along_axis(scores, at, axis=1), at + start


class JaxSearch:
    """JAX's product and ``top_k``, or ``approx_max_k`` with its default recall of 95 %."""

    def __init__(self, rows: DeviceRows, *, approximate: bool) -> None:
        self.rows, self.approximate = rows, approximate
        self._jitted: Any = None

    def prepare(self, gallery: Float32, _threads: int) -> Any:
        # Otherwise JAX takes three quarters of the memory at its first use; it never gives back what it took.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.2")
        jax = import_module("jax")
        if self.rows.device.startswith("cuda") and jax.default_backend() != "gpu":
            raise RuntimeError(f"JAX computes on {jax.default_backend()}")
        return jax.dlpack.from_dlpack(self.rows.gallery(gallery))

    def search(self, state: Any, queries: Float32, k: int, setting: Setting) -> Any:
        jax = import_module("jax")
        if self._jitted is None:
            self._jitted = jax.jit(self._find, static_argnums=(2, 3))
        q = jax.dlpack.from_dlpack(self.rows.queries(queries))
        blocks = range(0, len(q), setting["block"])
        found = [self._jitted(q[at : at + setting["block"]], state, k, setting["chunk"]) for at in blocks]
        ids = jax.numpy.concatenate(found).block_until_ready()
        return OnDevice(torch_module().from_dlpack(ids))

    def _find(self, queries: Any, rows: Any, k: int, chunk: int) -> Any:
        jax = import_module("jax")
        best, ids = [], []
        for start in range(0, len(rows), chunk):
            scores = jax.numpy.matmul(queries, rows[start : start + chunk].T, precision="highest")
            width = min(k, scores.shape[1])
            select = jax.lax.approx_max_k if self.approximate else jax.lax.top_k
            values, at = select(scores, width)
            best.append(values)
            ids.append(at + start)
        _, at = jax.lax.top_k(jax.numpy.concatenate(best, axis=1), k)
        return jax.numpy.take_along_axis(jax.numpy.concatenate(ids, axis=1), at, axis=1)


@dataclass
class FaissSearch:
    """FAISS's brute-force search on device arrays."""

    rows: DeviceRows
    dtype: str
    resources: Any = None

    def prepare(self, gallery: Float32, _threads: int) -> Any:
        faiss = import_module("faiss")
        if not hasattr(faiss, "StandardGpuResources"):
            raise RuntimeError("this build of FAISS has no GPU part")
        import_module("faiss.contrib.torch_utils")  # makes knn_gpu take tensors
        self.resources = self.resources or faiss.StandardGpuResources()
        return self.rows.gallery(gallery, self.dtype)

    def search(self, state: Any, queries: Float32, k: int, _setting: Setting) -> Any:
        faiss = import_module("faiss")
        q = self.rows.queries(queries).to(state.dtype)
        _, ids = faiss.knn_gpu(self.resources, q, state, k, metric=faiss.METRIC_INNER_PRODUCT)
        self.rows.wait()
        return OnDevice(ids)


@dataclass
class CuvsSearch:
    """cuVS's brute force."""

    rows: DeviceRows
    dtype: str

    def prepare(self, gallery: Float32, _threads: int) -> Any:
        return import_module("cuvs.neighbors.brute_force").build(
            self.rows.gallery(gallery, self.dtype), metric="inner_product"
        )

    def search(self, state: Any, queries: Float32, k: int, _setting: Setting) -> Any:
        q = self.rows.queries(queries).to(getattr(torch_module(), self.dtype))
        _, ids = import_module("cuvs.neighbors.brute_force").search(state, q, k)
        self.rows.wait()
        return OnDevice(torch_module().as_tensor(ids, device=self.rows.device))


VALUE_BYTES = {"float32": 4, "tf32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


def rival_tools(rows: DeviceRows) -> list[Tool]:
    """Return every rival, installed or not; those named "product" select nothing and have no answer."""

    def tool(name: str, modules: tuple[str, ...], way: Any, settings: Any, *, exact: bool = False) -> Tool:
        kind = name.rsplit(maxsplit=1)[-1]
        kind = kind if kind in VALUE_BYTES else "float32"  # JAX's names end with the selection
        return Tool(
            name, ("torch", *modules), exact, kind, VALUE_BYTES[kind], way.prepare, way.search, settings
        )

    return [
        tool("torch float32", (), Product(rows, "float32"), product_settings, exact=True),
        tool("torch tf32", (), Product(rows, "float32", tf32=True), product_settings),
        *(
            tool(f"torch {kind}", (), Product(rows, kind), product_settings)
            for kind in ("float16", "bfloat16", "int8")
        ),
        *(
            tool(f"product {kind}", (), Product(rows, kind, select=False), product_settings)
            for kind in ("float16", "bfloat16", "int8")
        ),
        tool("cupy float32", ("cupy",), ArraySearch(rows, "cupy"), few_settings, exact=True),
        tool("jax top_k", ("jax",), JaxSearch(rows, approximate=False), few_settings, exact=True),
        tool("jax approx_max_k", ("jax",), JaxSearch(rows, approximate=True), few_settings),
        tool("faiss float32", ("faiss",), FaissSearch(rows, "float32"), one_setting, exact=True),
        tool("faiss float16", ("faiss",), FaissSearch(rows, "float16"), one_setting),
        tool("cuvs float32", ("cuvs",), CuvsSearch(rows, "float32"), one_setting, exact=True),
        tool("cuvs float16", ("cuvs",), CuvsSearch(rows, "float16"), one_setting),
    ]
