"""A made-up population of embeddings with a known number of leaks, to see the audit find them.

No face is behind any number here. A person is a random direction; an image of the person is that direction plus
random noise; the synthetic set is of persons that nobody is, except for the planted leaks: further images of
persons of the training set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["CONFIG", "MadeUp", "Population", "make_population", "unit_rows", "write_population"]

# Noise of the length of the person's own direction gives two images of a person a cosine of about 0.5, which
# is where matchers put them; two persons have 0 +- 0.09 in 128 dimensions.
NOISE = 1.0


@dataclass(frozen=True)
class Population:
    """What is made: persons per real set, images per person, clusters of synthetic images, and the leaks."""

    persons: int = 2000
    images: int = 2
    clusters: int = 1500
    cluster_images: int = 2
    leaks: int = 45
    dim: int = 128
    seed: int = 0


@dataclass(frozen=True)
class MadeUp:
    """The three sets.

    Attributes
    ----------
    vectors : dict
        float32 ``[n, dim]`` per set, rows of unit length.
    labels : dict
        int64 ``[n]`` per set: person, or cluster of the synthetic set.
    leaked : ndarray
        int64 ``[leaks]``: the clusters that are of a training person.
    """

    vectors: dict[str, NDArray[np.float32]]
    labels: dict[str, NDArray[np.int64]]
    leaked: NDArray[np.int64]


def make_population(population: Population) -> MadeUp:
    """Return the made-up sets; the same population gives the same vectors.

    Raises
    ------
    ValueError
        There are more leaks than clusters or training persons.
    """
    most = min(population.clusters, population.persons)
    if not 0 <= population.leaks <= most:
        raise ValueError(f"leaks must be from 0 to {most}, not {population.leaks}")
    rng = np.random.default_rng(population.seed)
    directions = {
        "synthetic": unit_rows(rng.standard_normal((population.clusters, population.dim))),
        "training": unit_rows(rng.standard_normal((population.persons, population.dim))),
        "holdout": unit_rows(rng.standard_normal((population.persons, population.dim))),
    }
    leaked = np.sort(rng.permutation(population.clusters)[: population.leaks])
    victims = rng.permutation(population.persons)[: population.leaks]
    directions["synthetic"][leaked] = directions["training"][victims]
    vectors, labels = {}, {}
    for name, persons in directions.items():
        repeat = population.cluster_images if name == "synthetic" else population.images
        labels[name] = np.repeat(np.arange(len(persons)), repeat).astype(np.int64)
        noise = rng.standard_normal((len(labels[name]), population.dim)) * (NOISE / np.sqrt(population.dim))
        vectors[name] = unit_rows(persons[labels[name]] + noise).astype(np.float32)
    return MadeUp(vectors, labels, leaked.astype(np.int64))


def unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rows at length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float64)


CONFIG = """\
# A scan of embeddings. The vectors beside this file are random numbers that stand for embeddings: no face is
# behind them. Run it again with: idsim scan scan.toml
schema = 1

[run]
name = "run"
dir = "."

[synthetic]
embeddings = "synthetic.npy"
labels = "synthetic-clusters.npy"

[training]
embeddings = "training.npy"
labels = "training-persons.npy"

[holdout]
embeddings = "holdout.npy"
labels = "holdout-persons.npy"

[matcher]
kind = "embeddings"
name = "made-up"
metric = "cosine"
licence = "none needed: random numbers"

[declared]
matcher_saw_training = "no"
generator = "random numbers"

[calibration]
fpir = [0.01]
fmr = [1e-5]
"""


def write_population(made: MadeUp, folder: Path) -> Path:
    """Write the sets and the description of their scan into a new folder, and return the description's path.

    Labels of the real sets carry the name of the set, so that equal numbers are not taken for equal persons.
    """
    folder.mkdir(parents=True)
    for name, vectors in made.vectors.items():
        np.save(folder / f"{name}.npy", vectors)
        kind = "clusters" if name == "synthetic" else "persons"
        labels = np.char.add(f"{name}-", made.labels[name].astype(str))
        np.save(folder / f"{name}-{kind}.npy", labels)
    config = folder / "scan.toml"
    config.write_text(CONFIG, encoding="utf-8")
    return config
