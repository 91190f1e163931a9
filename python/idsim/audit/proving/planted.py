"""Bugs to plant into the audit's estimates: its self-test must find each of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from idsim.audit.faces import FaceSet
from idsim.audit.proving.naive import naive_rates
from idsim.audit.rates.intervals import Interval
from idsim.audit.rates.leakage import measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from idsim.audit.pairs.comparing import Comparisons
    from idsim.audit.rates.leakage import Leakage, Resampling

__all__ = ["PLANTS", "Given", "planted"]

LOOSER = 0.02  # cosine


class Given(NamedTuple):
    """The arguments of `idsim.audit.rates.leakage.measure`."""

    synthetic: FaceSet
    training: FaceSet
    holdout: FaceSet
    threshold: float
    comparisons: Comparisons
    resampling: Resampling


def planted(name: str | None) -> Callable[[Given], Leakage]:
    """Return `idsim.audit.rates.leakage.measure` with a bug of `PLANTS` in it, or as it is."""
    return _right if name is None else PLANTS[name]


def _right(given: Given) -> Leakage:
    return measure(*given)


def _half_interval(given: Given) -> Leakage:
    found = measure(*given)
    low, high, method = found.excess_interval
    halved = Interval((low + found.excess) / 2, (high + found.excess) / 2, method)
    return replace(found, excess_interval=halved)


def _no_plus_one(given: Given) -> Leakage:
    found, count = measure(*given), given.resampling.permutations
    return replace(found, p_value=(found.p_value * (count + 1) - 1) / count)


def _other_tail(given: Given) -> Leakage:
    found = measure(*given)
    return replace(found, p_value=1 - found.p_value + 1 / (given.resampling.permutations + 1))


def _no_weights(given: Given) -> Leakage:
    """Count every image as a cluster."""
    images = given.synthetic
    single = FaceSet(images.name, images.items, list(images.items), images.vectors, images.rows)
    return measure(*given._replace(synthetic=single))


def _whole_galleries(given: Given) -> Leakage:
    """Take the galleries as they are."""
    found = measure(*given)
    naive = naive_rates(given.synthetic, given.training, given.holdout, given.threshold)
    shift = naive.training - naive.holdout - found.excess
    low, high, method = found.excess_interval
    moved = Interval(low + shift, high + shift, method)
    return replace(found, excess=found.excess + shift, excess_interval=moved)


def _loose_threshold(given: Given) -> Leakage:
    return measure(*given._replace(threshold=given.threshold - LOOSER))


PLANTS: dict[str, Callable[[Given], Leakage]] = {
    "interval": _half_interval,
    "plus-one": _no_plus_one,
    "tail": _other_tail,
    "weights": _no_weights,
    "galleries": _whole_galleries,
    "threshold": _loose_threshold,
}
