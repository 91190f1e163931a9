"""Where and how a network runs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RunOptions"]


@dataclass(frozen=True)
class RunOptions:
    """Where and how a network runs.

    Attributes
    ----------
    device : str
        ``cpu``, ``cuda`` or ``cuda:1`` for a certain device, or ``auto``: a GPU where the runtime can use one, else
        the CPU. ``cuda`` never falls back.
    require_gpu : bool
        Whether ``auto`` may not fall back either.
    batch : int
        Crops of a run; 0: what suits the device.
    threads : int
        Threads of ONNX Runtime on a CPU; 0: as many as it has cores.
    """

    device: str = "cpu"
    require_gpu: bool = False
    batch: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        kind, colon, number = self.device.partition(":")
        numbered = kind == "cuda" and colon and number.isascii() and number.isdigit()
        if self.device not in ("cpu", "cuda", "auto") and not numbered:
            raise ValueError(f"device must be cpu, cuda, cuda:NUMBER or auto, not {self.device!r}")
        if self.device == "cpu" and self.require_gpu:
            raise ValueError("device is cpu, and a GPU is required")
        if not 0 <= self.batch <= 4096:
            raise ValueError(f"batch must be from 0 to 4096, not {self.batch}")
        if not 0 <= self.threads <= 1024:
            raise ValueError(f"threads must be from 0 to 1024, not {self.threads}")
