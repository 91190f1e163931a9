"""The parts of a run: a fixed range of the seeds of a set, drawn and stored by whoever is free.

A part that is done has left a record: what every picture is, and of a run into zips the pictures themselves.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.audit.shards import Sealed, read_sealed, replace_file, write_sealed
from idsim.generators.base import checked
from idsim.sampling.config import FORMATS, SampleConfig
from idsim.sampling.encode import encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from idsim.generators.base import Generator
    from idsim.generators.seeds import Seeds
    from idsim.generators.series import Variant

__all__ = ["PART_SEEDS", "WORK", "Part", "Plan", "draw_part", "read_part"]

PART_SEEDS = 64  # what a kill costs at most per worker
WORK = ".work"
MAGIC = b"idsim pictures 1\n"
MAX_ENCODERS = 8  # per worker: more fight over memory bandwidth


@dataclass(frozen=True)
class Plan:
    """Everything that a worker needs to know.

    Attributes
    ----------
    config : SampleConfig
        The run.
    seeds : dict
        Seeds of every network, by its spec.
    digest : str
        Of the run's provenance: parts of another run do not count.
    """

    config: SampleConfig
    seeds: dict[str, Seeds]
    digest: str

    def parts(self, variant: Variant) -> list[Part]:
        """Return the parts of a set, in order of their seeds."""
        count = len(self.seeds[variant.network])
        return [Part(variant, number) for number in range((count + PART_SEEDS - 1) // PART_SEEDS)]

    def part_seeds(self, part: Part) -> list[int]:
        """Return the seeds of a part."""
        start = part.number * PART_SEEDS
        return self.seeds[part.variant.network][start : start + PART_SEEDS]

    def file(self, variant: Variant, seed: int) -> str:
        """Return the name of a picture inside its set: in order of the seeds, 1,000 to a folder."""
        last = self.seeds[variant.network][-1]
        folder, name = len(str(last // 1000)), len(str(last))
        suffix = FORMATS[self.config.format]
        return f"{seed // 1000:0{max(5, folder)}d}/seed{seed:0{max(8, name)}d}{suffix}"

    def record(self, part: Part) -> Path:
        """Return the path of a part's record."""
        return self.config.output / WORK / part.variant.name / f"part-{part.number:07d}.bin"

    def key(self, part: Part) -> str:
        """Return what tells the record of this part from any other."""
        text = json.dumps([self.digest, part.variant.name, part.number])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Part:
    """One range of seeds of one set."""

    variant: Variant
    number: int


def read_part(plan: Plan, part: Part) -> Sealed | None:
    """Return the record of a part, or None where it must be drawn (again)."""
    sealed = read_sealed(plan.record(part), MAGIC, plan.key(part))
    if sealed is None or plan.config.format == "zip":
        return sealed
    for row in sealed.header["rows"]:
        path = plan.config.output / part.variant.name / row["file"]
        if not path.is_file() or path.stat().st_size != row["bytes"]:
            return None
    return sealed


def draw_part(plan: Plan, part: Part, generator: Generator) -> None:
    """Draw and store the pictures of a part, then its record.

    Pictures are encoded and written by threads while the generator draws the next ones.
    """
    config, variant, seeds = plan.config, part.variant, plan.part_seeds(part)
    pictures = checked(
        variant.network, generator.sample(seeds, psi=variant.psi, label=variant.label), len(seeds)
    )
    folder = None if config.format == "zip" else config.output / variant.name
    encoders = max(1, min(MAX_ENCODERS, (os.cpu_count() or 1) // max(1, len(config.devices))))
    with ThreadPoolExecutor(encoders) as pool:
        waiting = [
            pool.submit(_store, pixels, seed, plan.file(variant, seed), config, folder)
            for seed, pixels in zip(seeds, pictures, strict=True)
        ]
        stored = [future.result() for future in waiting]
    rows = [row for row, _ in stored]
    payload = b"".join(data for _, data in stored) if folder is None else b""
    record = plan.record(part)
    record.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(record, MAGIC, {"key": plan.key(part), "rows": rows}, payload)


def _store(
    pixels: NDArray[np.uint8], seed: int, file: str, config: SampleConfig, folder: Path | None
) -> tuple[dict[str, Any], bytes]:
    """Return the row of a picture and its file, which is written below `folder` if there is one."""
    data = encode(pixels, config.format, config.quality)
    height, width, _ = pixels.shape
    row = {
        "file": file, "seed": seed, "width": width, "height": height, "bytes": len(data),
        "pixels_sha256": hashlib.sha256(pixels.data).hexdigest(),
    }  # fmt: skip
    if folder is not None:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)
    return row, data


def pictures_of(sealed: Sealed) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every picture in the record of a part of a zip."""
    start = 0
    for row in sealed.header["rows"]:
        yield row["file"], sealed.payload[start : start + row["bytes"]]
        start += row["bytes"]
