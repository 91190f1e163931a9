"""What tests ask of the emulated machine (tests/emulator/machine.cpp), in builds that have it."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

from idsim import _core

#: Calls that the emulator counts, in its order.
CALLS = ("stream_waits", "event_waits", "pageable_copies", "stream_orders", "allocations", "launches")


def _hook(name: str, result: object, *arguments: object) -> object:
    function = getattr(ctypes.CDLL(_core.__file__), f"idsim_emulator_{name}")
    function.restype, function.argtypes = result, arguments
    return function


if _core.build_info()["cuda_emulated"]:
    claim = _hook("claim", None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    disclaim = _hook("disclaim", None, ctypes.c_void_p)
    live_bytes = _hook("live_bytes", ctypes.c_size_t, ctypes.c_int)
    make_stream = _hook("make_stream", ctypes.c_void_p, ctypes.c_int)
    _limit_memory = _hook("limit_memory", None, ctypes.c_int, ctypes.c_size_t)
    _clear_calls = _hook("clear_calls", None)
    _calls = _hook("calls", ctypes.c_long, ctypes.c_int)
    _begin_capture = _hook("begin_capture", ctypes.c_int, ctypes.c_void_p)
    _end_capture = _hook("end_capture", ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
    _replay = _hook("replay", ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


@contextlib.contextmanager
def memory_left(device: int, most: int) -> Iterator[None]:
    """Let a device have no more than so many bytes in all."""
    _limit_memory(device, most)
    try:
        yield
    finally:
        _limit_memory(device, 0)


@contextlib.contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Count what the host asks for; the numbers are there at the end."""
    counts: dict[str, int] = {}
    _clear_calls()
    yield counts
    counts.update({name: _calls(i) for i, name in enumerate(CALLS)})


class Graph:
    """What was captured, as `torch.cuda.graph` has it."""

    def __init__(self) -> None:
        self._graph = ctypes.c_void_p()

    @contextlib.contextmanager
    def capture(self, stream: int) -> Iterator[None]:
        """Capture what is queued on a stream; RuntimeError where it cannot be captured."""
        assert _begin_capture(stream) == 0
        try:
            yield
        finally:
            error = _end_capture(stream, ctypes.byref(self._graph))
        if error:
            msg = f"the capture failed with error {error}"
            raise RuntimeError(msg)

    def replay(self, stream: int = 0) -> None:
        assert _replay(self._graph, stream) == 0
