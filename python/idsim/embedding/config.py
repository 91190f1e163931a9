"""What an embedding run reads, and where its gallery goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MISSING", "EmbedConfig"]

SCHEMA = 1
MISSING = ("keep", "drop")


@dataclass(frozen=True)
class EmbedConfig:
    """An embedding run.

    Attributes
    ----------
    images : Path
        A source of pictures, see `idsim.sources.open_images`.
    output : Path
        The gallery. The folder of the run stands beside it: its name with ``.embed`` behind it.
    matcher, model, detector, align : str
        What represents a picture, see `idsim.matchers.opening.open_matcher`.
    kind, split : str
        Of the source; empty: told by its path, and all pictures.
    missing : {"keep", "drop"}
        What becomes of pictures without a face: a row of NaN, so that they are counted; or no row.
    devices : tuple of str
        One process each; all of one kind, because kinds of devices round differently. Empty: this process.
    workers : int
        Processes that decode, of all devices together; 0: as many as there are processors, at most 16.
    seconds : int
        Time for decoding one picture.
    require_gpu : bool
        Refuse to work where the matcher does not run on CUDA.
    """

    images: Path
    output: Path
    matcher: str
    model: str = ""
    detector: str = ""
    align: str = ""
    kind: str = ""
    split: str = ""
    missing: str = "keep"
    devices: tuple[str, ...] = ()
    workers: int = 0
    seconds: int = 10
    require_gpu: bool = False

    def __post_init__(self) -> None:
        if self.missing not in MISSING:
            raise ValueError(f"missing must be 'keep' or 'drop', not {self.missing!r}")
        if not 1 <= self.seconds <= 3600:
            raise ValueError(f"seconds must be from 1 to 3600, not {self.seconds}")
        if self.workers < 0:
            raise ValueError(f"workers must be at least 0, not {self.workers}")
        kinds = {device.partition(":")[0] for device in self.devices}
        if len(kinds) > 1:
            raise ValueError(
                f"devices of one kind only: {', '.join(sorted(kinds))} round differently, and an embedding must not "
                "depend on which one made it"
            )

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.output.with_name(self.output.name + ".embed")

    def resolved(self) -> dict[str, Any]:
        """Return what the gallery depends on, as tables of plain values: not where it goes, nor how many work."""
        return {
            "schema": SCHEMA,
            "embed": {
                "matcher": self.matcher,
                "detector": self.detector,
                "align": self.align,
                "kind": self.kind,
                "split": self.split,
                "missing": self.missing,
                "device": self.devices[0].partition(":")[0] if self.devices else "",
            },
        }
