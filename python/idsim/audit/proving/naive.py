"""What is often computed instead of the audit's estimates, as rivals for its self-test. Nothing here is used by a scan.

Images count as independent, galleries are taken as they are, and the rate against training alone is read as leakage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from idsim.audit.rates.intervals import newcombe, wilson

if TYPE_CHECKING:
    from idsim.audit.faces import FaceSet

__all__ = ["NaiveRates", "naive_rates"]


@dataclass(frozen=True)
class NaiveRates:
    """Shares of synthetic images whose best match reaches a threshold, and what images as units make of them.

    Attributes
    ----------
    training, holdout : float
        Shares of images.
    training_interval : tuple of float
        Wilson's, over images.
    excess_interval : tuple of float
        Newcombe's of ``training - holdout``, over images.
    p_value : float
        One-sided, of the pooled test of two proportions.
    """

    training: float
    holdout: float
    training_interval: tuple[float, float]
    excess_interval: tuple[float, float]
    p_value: float


def naive_rates(
    synthetic: FaceSet, training: FaceSet, holdout: FaceSet, threshold: float, confidence: float = 0.95
) -> NaiveRates:
    """Return the naive rates at a cosine threshold; the sets are small enough for all scores at once."""
    n = len(synthetic.rows)
    rates = [
        float(((synthetic.vectors @ real.vectors.T).max(axis=1) >= threshold).mean())
        for real in (training, holdout)
    ]
    pooled = (rates[0] + rates[1]) / 2
    spread = math.sqrt(2 * pooled * (1 - pooled) / n)
    p_value = 1 - NormalDist().cdf((rates[0] - rates[1]) / spread) if spread else 1.0
    return NaiveRates(
        rates[0],
        rates[1],
        wilson(rates[0], n, confidence),
        newcombe(rates[0], n, rates[1], n, confidence),
        p_value,
    )
