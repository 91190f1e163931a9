"""The parts of a run: a fixed range of the seeds of a set, drawn and stored by whoever is free.

A part that is done has left a record: what every picture is, and of a run into zips the pictures themselves.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from idsim.audit.shards import Sealed, read_sealed, replace_file, write_sealed
from idsim.generators.base import checked
from idsim.sampling.config import FORMATS, SampleConfig
from idsim.sampling.encode import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from idsim.generators.base import Generator
    from idsim.generators.seeds import Seeds
    from idsim.generators.series import Variant
    from idsim.sampling.screen_config import ScreenConfig

    Drawn = tuple[NDArray[np.uint8] | None, Mapping[str, Any]]

__all__ = [
    "PART_SEEDS",
    "WORK",
    "Part",
    "Plan",
    "ScreenPlan",
    "draw_part",
    "drawn_pictures",
    "pictures_of",
    "read_part",
    "store_part",
]

PART_SEEDS = 64  # what a kill costs at most per worker
WORK = ".work"
MAGIC = b"idsim pictures 1\n"
MAX_ENCODERS = 8  # per worker: more fight over memory bandwidth


class ScreenPlan(NamedTuple):
    """What a worker needs to know of a screen: what it is, and the threshold that was found for it."""

    config: ScreenConfig
    threshold: float


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
    screen : ScreenPlan or None
        What judges the pictures.
    reserve : dict
        Of a screened run: by the spec of the network, seeds that take the place of those turned down.
    """

    config: SampleConfig
    seeds: dict[str, Seeds]
    digest: str
    screen: ScreenPlan | None = None
    reserve: dict[str, Sequence[int]] = field(default_factory=dict)

    def parts(self, variant: Variant) -> list[Part]:
        """Return the parts of a set, in order of their seeds."""
        count = len(self.seeds[variant.network])
        return [Part(variant, number) for number in range((count + PART_SEEDS - 1) // PART_SEEDS)]

    def redraws(self, variant: Variant, attempt: int, seeds: list[int]) -> list[Part]:
        """Return the parts of a later round of a set."""
        chunks = (seeds[start : start + PART_SEEDS] for start in range(0, len(seeds), PART_SEEDS))
        return [Part(variant, number, attempt, tuple(chunk)) for number, chunk in enumerate(chunks)]

    def part_seeds(self, part: Part) -> list[int]:
        """Return the seeds of a part."""
        if part.attempt:
            return list(part.redrawn)
        start = part.number * PART_SEEDS
        return self.seeds[part.variant.network][start : start + PART_SEEDS]

    def file(self, variant: Variant, seed: int) -> str:
        """Return the name of a picture inside its set: in order of the seeds, 1,000 to a folder."""
        reserve = self.reserve.get(variant.network)
        last = reserve[-1] if reserve else self.seeds[variant.network][-1]
        folder, name = len(str(last // 1000)), len(str(last))
        suffix = FORMATS[self.config.format]
        return f"{seed // 1000:0{max(5, folder)}d}/seed{seed:0{max(8, name)}d}{suffix}"

    def record(self, part: Part) -> Path:
        """Return the path of a part's record."""
        attempt = f"redraw-{part.attempt:05d}-" if part.attempt else ""
        return self.config.output / WORK / part.variant.name / f"{attempt}part-{part.number:07d}.bin"

    def key(self, part: Part) -> str:
        """Return what tells the record of this part from any other."""
        redraw = [part.attempt, part.redrawn] if part.attempt else []
        text = json.dumps([self.digest, part.variant.name, part.number, *redraw])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Part:
    """One range of seeds of one set.

    Attributes
    ----------
    variant : Variant
        The set.
    number : int
        Of the part.
    attempt : int
        0 for the seeds that were asked for; else the round of redraws, from 1.
    redrawn : tuple of int
        The seeds of a redraw.
    """

    variant: Variant
    number: int
    attempt: int = 0
    redrawn: tuple[int, ...] = ()


def read_part(plan: Plan, part: Part) -> Sealed | None:
    """Return the record of a part, or None where it must be drawn (again)."""
    sealed = read_sealed(plan.record(part), MAGIC, plan.key(part))
    if sealed is None or plan.config.format == "zip":
        return sealed
    for row in sealed.header["rows"]:
        if not row["file"]:  # turned down
            continue
        path = plan.config.output / part.variant.name / row["file"]
        if not path.is_file() or path.stat().st_size != row["bytes"]:
            return None
    return sealed


def draw_part(plan: Plan, part: Part, generator: Generator) -> None:
    """Draw and store the pictures of a part, then its record.

    Pictures are encoded and written by threads while the generator draws the next ones.
    """
    store_part(plan, part, ((pixels, {}) for pixels in drawn_pictures(plan, part, generator)))


def drawn_pictures(plan: Plan, part: Part, generator: Generator) -> Iterator[NDArray[np.uint8]]:
    """Draw the pictures of a part."""
    variant, seeds = part.variant, plan.part_seeds(part)
    pictures = generator.sample(seeds, psi=variant.psi, label=variant.label)
    return checked(variant.network, pictures, len(seeds))


def store_part(plan: Plan, part: Part, pictures: Iterable[Drawn]) -> None:
    """Store the pictures of a part, then its record.

    Parameters
    ----------
    plan : Plan
        The run.
    part : Part
        The part.
    pictures : iterable
        For every seed its picture, or None where it is not to be stored, and what else its row says.
    """
    config, variant, seeds = plan.config, part.variant, plan.part_seeds(part)
    folder = None if config.format == "zip" else config.output / variant.name
    encoders = max(1, min(MAX_ENCODERS, (os.cpu_count() or 1) // max(1, len(config.devices))))
    rows: list[dict[str, Any]] = []
    waiting = []
    with ThreadPoolExecutor(encoders) as pool:
        for seed, (pixels, more) in zip(seeds, pictures, strict=True):
            rows.append({"file": "", "seed": seed, "bytes": 0, **more})
            if pixels is not None:
                stored = pool.submit(_store, pixels, plan.file(variant, seed), config, folder)
                waiting.append((rows[-1], stored))
        payload = []
        for row, future in waiting:
            stored_row, data = future.result()
            row.update(stored_row)
            payload.append(data)
    record = plan.record(part)
    record.parent.mkdir(parents=True, exist_ok=True)
    content = b"".join(payload) if folder is None else b""
    write_sealed(record, MAGIC, {"key": plan.key(part), "rows": rows}, content)


def _store(
    pixels: NDArray[np.uint8], file: str, config: SampleConfig, folder: Path | None
) -> tuple[dict[str, Any], bytes]:
    """Return what is known of a picture and its file, which is written below `folder` if there is one."""
    data = encode(pixels, config.format, config.quality)
    height, width, _ = pixels.shape
    row = {
        "file": file, "width": width, "height": height, "bytes": len(data),
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
    for row in (row for row in sealed.header["rows"] if row["file"]):
        yield row["file"], sealed.payload[start : start + row["bytes"]]
        start += row["bytes"]
