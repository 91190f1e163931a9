"""Leak rates at a threshold: against training, against holdout, and the excess.

Definitions (docs/leakage.md): ``LR_X`` is the share of synthetic images, weighted by 1 / size of their cluster,
whose best match in gallery X reaches the threshold; images without a face stay in the denominator. The headline
is ``ELR = LR_T - LR_H`` over galleries of equal numbers of persons and images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.faces import FaceSet, encode_labels
from idsim.audit.pairs.tails import UnsupportedError
from idsim.audit.rates.excess import Gallery, Rate, Resampling, measure_excess
from idsim.audit.rates.resampling import image_counts

if TYPE_CHECKING:
    from idsim.audit.pairs.comparing import Comparisons
    from idsim.audit.rates.excess import Excess
    from idsim.audit.rates.intervals import Interval

__all__ = ["Exposure", "Leakage", "Rate", "Resampling", "measure"]


@dataclass(frozen=True)
class Exposure:
    """Which persons of a gallery are hit.

    Attributes
    ----------
    persons, exposed : int
        All persons with a face, and those that at least one synthetic image reaches.
    effective : float
        Inverse Simpson number of exposed persons: near 1 when all hits go to one person.
    top_share : float
        Share of the hits that the most exposed person takes.
    pairs, compared : int
        Pairs of images that reach the threshold, and pairs compared.
    """

    persons: int
    exposed: int
    effective: float
    top_share: float
    pairs: int
    compared: int


@dataclass(frozen=True)
class Leakage:
    """Everything that is measured at one threshold."""

    training: Rate
    holdout: Rate
    excess: float
    excess_interval: Interval
    excess_upper: float
    residual_risk: float | None
    p_value: float
    draws: int
    persons_compared: int
    exposures: tuple[Exposure, Exposure]
    tail_lift: float | None
    measured: Excess


def measure(
    synthetic: FaceSet,
    training: FaceSet,
    holdout: FaceSet,
    threshold: float,
    comparisons: Comparisons,
    resampling: Resampling,
) -> Leakage:
    """Return the leak rates at a threshold.

    Parameters
    ----------
    synthetic, training, holdout : FaceSet
        The three sets; labels of `synthetic` are its clusters.
    threshold : float
        Pairs with a score of at least this (``l2``: a distance of at most this) count.
    comparisons : Comparisons
        Scores between the sets.
    resampling : Resampling
        Replicates and seed.

    Raises
    ------
    UnsupportedError
        So many pairs reach the threshold that they cannot be listed, or not all of them are known.
    """
    clusters, _ = encode_labels(synthetic.labels)
    galleries = [_gallery(synthetic, real, threshold, comparisons) for real in (training, holdout)]
    found = measure_excess(galleries, clusters, resampling)
    exposures = (_exposure(galleries[0], synthetic), _exposure(galleries[1], synthetic))
    return Leakage(
        training=found.training,
        holdout=found.holdout,
        excess=found.rate,
        excess_interval=found.interval,
        excess_upper=found.upper,
        residual_risk=found.rate / (1 - found.holdout.rate) if found.holdout.rate < 1 else None,
        p_value=found.p_value,
        draws=found.draws,
        persons_compared=found.persons,
        exposures=exposures,
        tail_lift=_tail_lift(*exposures),
        measured=found,
    )


def _gallery(synthetic: FaceSet, real: FaceSet, threshold: float, comparisons: Comparisons) -> Gallery:
    found = comparisons.reaching(synthetic, real, threshold)
    if found is None:
        raise UnsupportedError(f"{synthetic.name} and {real.name} were not compared")
    rows, columns, _ = found
    return Gallery(real.codes()[0], synthetic.rows[np.asarray(rows)], np.asarray(columns))


def _exposure(gallery: Gallery, synthetic: FaceSet) -> Exposure:
    hits = gallery.hits()
    per_person = np.bincount(hits.persons)
    total = int(per_person.sum())
    return Exposure(
        persons=len(image_counts(gallery.persons)),
        exposed=int((per_person > 0).sum()),
        effective=float(total**2 / (per_person.astype(np.float64) ** 2).sum()) if total else 0.0,
        top_share=float(per_person.max() / total) if total else 0.0,
        pairs=len(gallery.images),
        compared=len(synthetic.rows) * len(gallery.persons),
    )


def _tail_lift(training: Exposure, holdout: Exposure) -> float | None:
    """Return the false match rate of synthetic x training over that of synthetic x holdout."""
    if not holdout.pairs or not training.compared or not holdout.compared:
        return None
    return (training.pairs / training.compared) / (holdout.pairs / holdout.compared)
