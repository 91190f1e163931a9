"""What a search on a CUDA device takes of its memory, planned before anything is allocated.

The plan is made by the code that allocates (``csrc/core/device_plan.hpp``), needs no device, and is what is done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import _core
from idsim.devices import Place, device_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DEFAULT_MEMORY_BUDGET",
    "MemoryPlan",
    "budget_of_index",
    "feasible",
    "form_of",
    "planned",
    "sent_row_bytes",
]

DEFAULT_MEMORY_BUDGET = 1 << 30
# Below this no device is asked what it has free: asking takes longer than to allocate.
_ALWAYS_FREE = 64 << 20

_FORMS = {
    "device_rows": "rows on the device, coded there",
    "host_rows": "rows from the host or from files, sent and coded in parts",
    "host_codes": "codes from the host or from files, sent in parts",
    "index": "an index on the device",
    "host_index": "an index on the device, its rows on the host",
}


@dataclass(frozen=True)
class MemoryPlan:
    """How a top-k search on a device is cut, and the bytes that it takes.

    Attributes
    ----------
    queries, rows, dim, k : int
        The question.
    form : str
        How the gallery reaches the device: "device_rows", "host_rows", "host_codes", "index" or "host_index".
    precision : str
        Of the codes: "int8" or "float16"; "float32": the rows themselves are multiplied.
    budget : int
        Bytes of the device that the search may take.
    free, total_memory : int or None
        Bytes of the device that are free now, and all; None where there is no device.
    query_chunk : int
        Queries that are worked on together.
    part_rows : int
        Rows of the gallery that are worked on at a time.
    fetched_rows : int
        Rows that are sent at a time because the codes cannot decide them; 0 where none are.
    candidates : int
        Room in a query's list of what may count.
    buffers : dict of str to int
        Bytes of the device by purpose.
    pinned_bytes : int
        Bytes of the host that are page-locked.
    """

    queries: int
    rows: int
    dim: int
    k: int
    form: str
    precision: str
    budget: int
    free: int | None
    total_memory: int | None
    query_chunk: int
    part_rows: int
    fetched_rows: int
    candidates: int
    buffers: dict[str, int] = field(repr=False)
    pinned_bytes: int

    @property
    def total(self) -> int:
        """Bytes of the device that the search takes."""
        return sum(self.buffers.values())

    @property
    def passes(self) -> int:
        """How often the gallery is read."""
        return -(-self.queries // max(self.query_chunk, 1))

    @property
    def parts(self) -> int:
        """Parts that the gallery comes in."""
        return -(-self.rows // max(self.part_rows, 1))

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield "gallery", f"{self.rows:,} rows of {self.dim}: {_FORMS[self.form]}"
        yield "  precision", self.precision
        yield "  at a time", f"{self.part_rows:,} rows, {self.parts:,} parts"
        if self.fetched_rows:
            yield "  fetched", f"up to {self.fetched_rows:,} undecided rows at a time"
        yield "queries", f"{self.queries:,}"
        yield "  at a time", f"{self.query_chunk:,}; the gallery is read {self.passes:,} times"
        yield "results", f"{self.k:,} of up to {self.candidates:,} candidates per query and slab"
        for name, size in self.buffers.items():
            yield name, _size(size)
        yield "total", f"{_size(self.total)} of a budget of {_size(self.budget)}"
        yield "page-locked", f"{_size(self.pinned_bytes)} of the host"
        if self.free is not None and self.total_memory is not None:
            yield "device", f"{_size(self.free)} free of {_size(self.total_memory)}"

    def __str__(self) -> str:
        return "\n".join(f"{name:<22}{text}" for name, text in self._lines())


def _size(count: int) -> str:
    """Return a number of bytes with a binary unit."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def sent_row_bytes(matrix: Any) -> int:
    """Return the bytes of a row as it is sent: as it is where rows are dense, else as float32."""
    dim = int(matrix.shape[1])
    if isinstance(matrix, np.ndarray):
        return dim * (matrix.itemsize if matrix.flags.c_contiguous else 4)
    dtype = str(matrix.dtype)
    return dim * (8 if dtype.endswith("64") else 2 if dtype.endswith("16") else 4)


def form_of(source: Any) -> tuple[str, int]:
    """Return how a `Source` reaches a device, and the bytes of a row of it as it is sent."""
    describe = getattr(source, "sent_to_device", None)
    if describe is not None:
        form, row_bytes = describe()
        return str(form), int(row_bytes)
    return "host_rows", 4 * int(source.dim)


def budget_of_index(device: int) -> int:
    """Return the bytes of a device that an index may take: what is free, but for what a search takes."""
    free, _ = _core.cuda_memory(device)
    return free - min(DEFAULT_MEMORY_BUDGET, free // 4)


def planned(
    queries: Any, gallery: Any, k: int, place: Place, memory_budget: int | None, precision: str
) -> tuple[MemoryPlan, int]:
    """Plan a search, and return the plan with the least budget that would do.

    Parameters
    ----------
    queries, gallery : Source
        The question's rows.
    k : int
        Results per query.
    place : int, tuple of int, or None
        The device, or devices, whose free memory bounds the budget; None: none does.
    memory_budget : int, optional
        Bytes of the device. Default 1 GiB.
    precision : {"auto", "int8", "float16", "float32"}
        That is asked for.
    """
    devices = () if place is None else (place,) if isinstance(place, int) else place
    form, row_bytes = form_of(gallery)
    if gallery.pinned:
        precision = gallery.precision
    elif form == "host_codes" and precision not in {"auto", "int8"}:
        form = "host_rows"  # those codes are of 8 bits
    has_int8 = all(_core.cuda_int8_tensor_cores(n) for n in devices)
    query_bytes = 0 if queries.device is not None else form_of(queries)[1]
    budget = DEFAULT_MEMORY_BUDGET if memory_budget is None else memory_budget

    def plan(budget: int) -> Any:
        return _core.plan_search(
            len(queries),
            query_bytes,
            len(gallery),
            row_bytes,
            queries.dim,
            k,
            form,
            budget,
            precision,
            has_int8,
        )

    made, free, total = plan(budget), None, None
    if devices and made["total"] > _ALWAYS_FREE:
        free, total = min(_core.cuda_memory(n) for n in devices)
        if free < budget:
            budget = free
            made = plan(budget)
    buffers = {
        "queries": made["query_bytes"],
        "candidates": made["candidate_bytes"],
        "best so far": made["result_bytes"],
        "sample": made["sample_bytes"],
        "parts of the gallery": made["part_bytes"],
        "fetched rows": made["fetch_bytes"],
    }
    numbers = made["query_chunk"], made["part_rows"], made["fetched_rows"], made["candidates"]
    question = len(queries), len(gallery), int(queries.dim), k, form, made["precision"]
    return MemoryPlan(*question, budget, free, total, *numbers, buffers, made["pinned_bytes"]), made["least"]


def feasible(
    queries: Any, gallery: Any, k: int, place: Place, memory_budget: int | None, precision: str
) -> MemoryPlan:
    """Return the plan of a search, as `planned` makes it.

    Raises
    ------
    ValueError
        The budget does not hold 32 queries.
    MemoryError
        What is free does not.
    """
    plan, least = planned(queries, gallery, k, place, memory_budget, precision)
    if plan.query_chunk == 0 < len(queries):
        if plan.budget == memory_budget:
            msg = f"memory_budget must be at least {least} bytes for this search, not {plan.budget}"
            raise ValueError(msg)
        msg = f"{device_name(place)}: {plan.budget} bytes are free; this search takes at least {least}"
        raise MemoryError(msg)
    return plan
