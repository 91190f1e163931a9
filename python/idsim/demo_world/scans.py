"""Scans of the drawn world: two generators, each against its training set and a holdout of other people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from idsim.demo_world.folders import draw
from idsim.demo_world.matchers import MATCHERS, write_matchers
from idsim.demo_world.weights import write_generators

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from concurrent.futures import Executor

__all__ = ["GENERATORS", "DrawnSet", "Trained", "write_world"]


@dataclass(frozen=True)
class DrawnSet:
    """Portraits of the first people of a population."""

    population: str
    people: int
    images: int


@dataclass(frozen=True)
class Trained:
    """A generator and what it was trained on.

    Attributes
    ----------
    name : str
        Of the generator, and of its scan.
    training : DrawnSet
        The portraits that it saw.
    holdout : DrawnSet
        Portraits of other people, as many of each: people with equally many can change places in a permutation.
    truth : str
        What is known of it, in a sentence.
    """

    name: str
    training: DrawnSet
    holdout: DrawnSet
    truth: str


GENERATORS = (
    Trained(
        "few",
        DrawnSet("training-few", 32, 12),
        DrawnSet("holdout-few", 320, 12),
        "saw 32 people again and again, and repeats some of them",
    ),
    Trained(
        "many",
        DrawnSet("training-many", 2000, 1),
        DrawnSet("holdout-many", 3200, 1),
        "saw 2,000 people, one picture each",
    ),
)


def write_world(
    folder: str | os.PathLike[str],
    seeds: int = 2000,
    generators: Sequence[Trained] = GENERATORS,
    pool: Executor | None = None,
) -> dict[str, Path]:
    """Draw training sets and holdout, and describe the scan of each generator.

    Parameters
    ----------
    folder : path
        A new folder: ``pictures/POPULATION``, ``weights``, ``few.toml``, ``many.toml``.
    seeds : int
        Pictures to draw of each generator.
    generators : sequence of Trained
        Those to scan; smaller sets make quicker scans.
    pool : concurrent.futures.Executor, optional
        Draws the sets side by side.

    Returns
    -------
    dict
        Name of the generator -> the TOML file of its scan (docs/scan.md).
    """
    place = Path(folder)
    sets = [drawn for generator in generators for drawn in (generator.training, generator.holdout)]
    weights = place / "weights"
    weights.mkdir(parents=True)
    write_matchers(weights)
    write_generators(weights)
    drawing = pool.map if pool is not None else map
    columns = zip(
        *((place / "pictures" / each.population, each.population, each.people, each.images) for each in sets),
        strict=True,
    )
    list(drawing(draw, *columns))
    return {generator.name: _describe(place, generator, seeds) for generator in generators}


def _describe(folder: Path, generator: Trained, seeds: int) -> Path:
    lines = [
        "[run]",
        f"name = {json.dumps(generator.name)}",
        'dir = "runs"',
        "",
        "[synthetic]",
        f'generator = "weights/{generator.name}.safetensors"',
        f'seeds = "0-{seeds - 1}"',
        "",
        "[training]",
        f'images = "pictures/{generator.training.population}"',
        'labels = "folder"',
        "",
        "[holdout]",
        f'images = "pictures/{generator.holdout.population}"',
        'labels = "folder"',
    ]
    for name in MATCHERS:
        lines += ["", "[[matcher]]", f'name = "{name}"', f'kind = "weights/{name}.onnx"']
    lines += [
        "",
        "[calibration]",
        "fpir = [0.01]",
        "fmr = [1e-4]",
        "",
        "[declared]",
        'matcher_saw_training = "no"',
        'generator_mirrored = "no"',
        f"generator = {json.dumps('StyleGAN2, 32 pixels; ' + generator.truth)}",
    ]
    path = folder / f"{generator.name}.toml"
    path.write_text("\n".join(lines) + "\n")
    return path
