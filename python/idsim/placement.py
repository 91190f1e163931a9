"""Where a question is answered: which engine, for the device that was named or where the arrays lie."""

from __future__ import annotations

from typing import Any

from idsim.devices import Place, device_name, parse_device, stream_handle
from idsim.engines import CpuEngine, CudaEngine, Engine
from idsim.options import checked_precision
from idsim.split import SplitEngine

__all__ = ["chosen_device", "engine_at", "engine_for"]

# Where arrays on the host are worked on when no device is named; tests set it to "cuda".
default_device: str | None = None


def chosen_device(device: str | None, lies_on: Place) -> Place:
    """Return the place to work at: the one named, else where the arrays lie."""
    if device is None and lies_on is not None:
        return lies_on
    return parse_device(device or default_device)


def engine_at(
    place: Place, stream: Any, memory_budget: int | None, *arrays: Any, precision: str = "auto"
) -> Engine:
    """Return the engine of a place.

    Parameters
    ----------
    place : int, tuple of int, or None
        A CUDA device, several, or the CPU.
    stream : object, optional
        Of the work on one device; see `idsim.devices.stream_handle`.
    memory_budget : int, optional
        Bytes of scratch, on each device.
    *arrays : object
        Their library's current stream is the default.
    precision : {"auto", "int8", "float16", "float32"}
        How closely the filter of a device is to look at pairs.

    Raises
    ------
    ValueError
        A stream, which belongs to one device, for several.
    """
    if place is None:
        return CpuEngine()
    if isinstance(place, int):
        return CudaEngine(place, stream_handle(stream, place, *arrays), memory_budget, precision)
    if stream is not None:
        msg = f"stream belongs to one device, the work is on {device_name(place)!r}"
        raise ValueError(msg)
    return SplitEngine(
        [CudaEngine(n, stream_handle(None, n, *arrays), memory_budget, precision) for n in place]
    )


def engine_for(
    device: str | None,
    stream: Any,
    memory_budget: int | None,
    queries: Any,
    gallery: Any,
    precision: str = "auto",
) -> Engine:
    """Return the engine for a question.

    Parameters
    ----------
    device : None or str
        See `idsim.devices.parse_device`. None: where the gallery lies, or the queries.
    stream, memory_budget, precision
        See `engine_at`.
    queries, gallery : Source
        The question's rows.

    Raises
    ------
    ValueError
        The gallery is an Index that was made for another place or keeps other codes, or the place does not have the
        precision.
    """
    place = chosen_device(device, gallery.device if gallery.device is not None else queries.device)
    if device is None and gallery.pinned:
        place = gallery.device
    if gallery.pinned and gallery.device != place:
        msg = f"the Index was made for {_told(gallery.device)}, the question is for {_told(place)}"
        raise ValueError(msg)
    checked_precision(precision, on_device=place is not None)
    if gallery.pinned and precision not in {"auto", gallery.precision}:
        kept = gallery.precision
        msg = f"the Index keeps {kept} codes: precision must be 'auto' or {kept!r}, not {precision!r}"
        raise ValueError(msg)
    return engine_at(place, stream, memory_budget, gallery.array, queries.array, precision=precision)


def _told(place: Place) -> str:
    if place is None:
        return "the CPU"
    return f"device{'s' * isinstance(place, tuple)} {device_name(place)!r}"
