"""What a sampling run draws, and how it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from idsim.generators.seeds import parse_seeds
from idsim.generators.series import Variant, make_series

if TYPE_CHECKING:
    from pathlib import Path

    from idsim.sampling.screen_config import ScreenConfig

__all__ = ["FORMATS", "SampleConfig"]

SCHEMA = 1

# Format -> suffix of the pictures.
FORMATS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "zip": ".png"}


@dataclass(frozen=True)
class SampleConfig:
    """A sampling run.

    Attributes
    ----------
    networks : tuple of str
        Specs of generators, see `idsim.generators.open_generator`.
    output : Path
        The run folder: new, or of this very run.
    seeds : str
        Like ``0-9999,20000``; empty: every picture of generators over stored pictures.
    psi : tuple of float
        Truncations; empty: the generator's own.
    labels : tuple of int
        Classes of conditional generators.
    noise : str
        Noise mode of the generator; empty: its own.
    format : str
        ``png``, ``jpeg``, ``webp`` (files), or ``zip`` (an uncompressed zip of PNG per set).
    quality : int
        Of JPEG (0: 95) and WebP (0: lossless), 1 to 100.
    devices : tuple of str
        One worker process each; all of one kind, because kinds of devices round differently.
    screen : ScreenConfig or None
        What pictures are compared with before they are released; those that do not pass are drawn again from other
        seeds. None: nothing.
    """

    networks: tuple[str, ...]
    output: Path
    seeds: str = ""
    psi: tuple[float, ...] = ()
    labels: tuple[int, ...] = ()
    noise: str = ""
    format: str = "png"
    quality: int = 0
    devices: tuple[str, ...] = ()
    screen: ScreenConfig | None = None
    series: list[Variant] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {self.format!r}")
        if self.quality and self.format not in ("jpeg", "webp"):
            raise ValueError(f"{self.format} has no quality")
        if not 0 <= self.quality <= 100:
            raise ValueError(f"quality must be from 1 to 100, not {self.quality}")
        kinds = {self.device_kind(device) for device in self.devices}
        if len(kinds) > 1:
            raise ValueError(
                f"devices of one kind only: {', '.join(sorted(kinds))} round differently, and a picture must not "
                "depend on which one drew it"
            )
        if self.seeds:
            parse_seeds(self.seeds)
        object.__setattr__(self, "series", make_series(self.networks, self.psi, self.labels))

    @staticmethod
    def device_kind(device: str) -> str:
        """Return ``cuda`` of ``cuda:1``."""
        return device.partition(":")[0]

    def resolved(self) -> dict[str, Any]:
        """Return what the pictures depend on, as tables of plain values: not where they go, nor how many work."""
        screen = {} if self.screen is None else {"screen": self.screen.resolved()}
        return {
            "schema": SCHEMA,
            "sample": {
                "networks": list(self.networks),
                "seeds": self.seeds,
                "psi": list(self.psi),
                "labels": list(self.labels),
                "noise": self.noise,
                "format": self.format,
                "quality": self.quality,
                "device": self.device_kind(self.devices[0]) if self.devices else "",
            },
            **screen,
        }
