"""Audits of made-up embeddings with a known truth, drawn again and again: no picture, file or weight is needed.

A person is a random direction, an image of the person that direction plus noise of the same length, all of length 1:
two images of a person have a cosine of about 0.5, those of two persons 0 with a spread of 1 / sqrt(dim).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.configuration.config import CalibrationConfig, ScanConfig, SetConfig, SyntheticConfig
from idsim.audit.evaluation import measure_baseline
from idsim.audit.faces import FaceSet
from idsim.audit.pairs.comparing import VectorComparisons
from idsim.audit.proving.made_up import NOISE, unit_rows
from idsim.audit.proving.planted import Given

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.audit.rates.leakage import Leakage, Resampling
    from idsim.audit.thresholds.calibration import OperatingPoint, Target

__all__ = ["Sample", "Trial", "World", "audit", "draw", "mated_hits"]

HUB_NOISE = 0.3  # of a hub image, which is hardly more than what all faces share
MATED_SAMPLES = 40_000


@dataclass(frozen=True)
class World:
    """What the three sets are drawn from.

    Attributes
    ----------
    training, holdout : int
        Persons.
    images : int
        Of every person.
    clusters : int
        Of synthetic images.
    sizes : tuple of int
        A cluster has one of these numbers of images, all with the same chance.
    leaks : tuple of float
        Chance that a cluster is of a training person, for each of `sizes`.
    dim : int
        Of the embeddings.
    common : float
        Length of the direction that all images share, beside the person's own of 1.
    hubs : float
        Share of the real persons whose images show hardly more than what all share.
    twins : float
        Share of the holdout's persons who are in it twice, under two labels.
    """

    training: int = 200
    holdout: int = 200
    images: int = 2
    clusters: int = 300
    sizes: tuple[int, ...] = (1,)
    leaks: tuple[float, ...] = (0.0,)
    dim: int = 64
    common: float = 0.0
    hubs: float = 0.0
    twins: float = 0.0

    @property
    def rate(self) -> float:
        """The expected share of clusters that leak."""
        return float(np.mean(np.broadcast_to(self.leaks, len(self.sizes))))


@dataclass(frozen=True)
class Sample:
    """Three sets of one world."""

    synthetic: FaceSet
    training: FaceSet
    holdout: FaceSet


@dataclass(frozen=True)
class Trial:
    """A sample, the operating point that its holdout gives, and the leakage that was measured there."""

    sample: Sample
    point: OperatingPoint
    leakage: Leakage

    @property
    def threshold(self) -> float:
        """Score from which on a pair counts."""
        assert self.point.threshold is not None, self.point.refusal
        return self.point.threshold


def draw(world: World, rng: np.random.Generator) -> Sample:
    """Return three sets; the same generator gives the same ones."""
    shared = np.zeros(world.dim)
    shared[0] = world.common
    training = _directions(world.training, world.dim, rng)
    holdout = _directions(world.holdout, world.dim, rng)
    twins = int(rng.binomial(world.holdout // 2, world.twins))
    holdout[world.holdout - twins :] = holdout[:twins]
    kind = rng.integers(len(world.sizes), size=world.clusters)
    leaked = rng.random(world.clusters) < np.broadcast_to(world.leaks, len(world.sizes))[kind]
    synthetic = _directions(world.clusters, world.dim, rng)
    synthetic[leaked] = training[rng.integers(world.training, size=int(leaked.sum()))]
    clusters = np.repeat(np.arange(world.clusters), np.asarray(world.sizes)[kind])
    real = [
        _face_set(name, persons, np.repeat(np.arange(len(persons)), world.images), shared, world.hubs, rng)
        for name, persons in (("training", training), ("holdout", holdout))
    ]
    return Sample(_face_set("synthetic", synthetic, clusters, shared, 0.0, rng), *real)


def _directions(count: int, dim: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return unit_rows(rng.standard_normal((count, dim)))


def _face_set(
    name: str,
    directions: NDArray[np.float64],
    codes: NDArray[np.int64],
    shared: NDArray[np.float64],
    hubs: float,
    rng: np.random.Generator,
) -> FaceSet:
    dim = directions.shape[1]
    noise = rng.standard_normal((len(codes), dim)) / np.sqrt(dim)
    hub = (rng.random(len(directions)) < hubs)[codes, None]
    images = shared + np.where(hub, HUB_NOISE * noise, directions[codes] + NOISE * noise)
    items = [str(row) for row in range(len(codes))]
    vectors = unit_rows(images).astype(np.float32)
    return FaceSet(name, items, [f"{name} {code}" for code in codes], vectors, np.arange(len(codes)))


def audit(
    world: World,
    target: Target,
    resampling: Resampling,
    estimator: Callable[[Given], Leakage],
    rng: np.random.Generator,
) -> Trial:
    """Draw a sample and audit it, as a scan of its embeddings would.

    Parameters
    ----------
    world : World
        What is drawn from.
    target : Target
        The operating point: an FPIR or a threshold.
    resampling : Resampling
        Replicates; its seed is replaced by one from `rng`.
    estimator : callable
        What measures leakage, see `idsim.audit.proving.planted.planted`.
    rng : numpy.random.Generator
        Source of the sample and of the seed.
    """
    sample = draw(world, rng)
    seed = int(rng.integers(1 << 31))
    calibration = CalibrationConfig(
        fmr=(),
        fpir=(target.value,) if target.kind == "fpir" else (),
        thresholds=(target.value,) if target.kind == "threshold" else (),
    )
    labelled = SetConfig(labels="group")
    config = ScanConfig(SyntheticConfig(), labelled, labelled, calibration=calibration)
    comparisons = VectorComparisons("cosine")
    baseline = measure_baseline(config, sample.training, sample.holdout, comparisons)
    point = baseline.points[0].point
    if point.threshold is None:
        raise ValueError(f"this world supports no threshold at {target.name}: {point.refusal}")
    given = Given(
        sample.synthetic,
        baseline.training,
        baseline.holdout,
        point.threshold,
        comparisons,
        replace(resampling, seed=seed),
    )
    return Trial(sample, point, estimator(given))


def mated_hits(world: World, rng: np.random.Generator) -> Callable[[float], float]:
    """Return the chance that an image of a training person reaches one of the person's, by threshold: 1 - FNMR."""
    plain = World(images=world.images, dim=world.dim, common=world.common)
    shared = np.zeros(plain.dim)
    shared[0] = plain.common
    persons = _directions(MATED_SAMPLES, plain.dim, rng)
    codes = np.repeat(np.arange(MATED_SAMPLES), plain.images + 1)
    vectors = _face_set("mated", persons, codes, shared, 0.0, rng).vectors
    grouped = vectors.reshape(MATED_SAMPLES, plain.images + 1, plain.dim)
    best = np.sort(np.einsum("nd,nid->ni", grouped[:, 0], grouped[:, 1:]).max(axis=1))
    return lambda threshold: float(1.0 - np.searchsorted(best, threshold) / len(best))
