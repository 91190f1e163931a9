"""Hubs: gallery images that resemble everybody, and take the hits of many unrelated probes.

In spaces of many dimensions a few points are among the nearest neighbours of very many others (Radovanović,
Nanopoulos and Ivanović 2010, "Hubs in Space"), and blurred, odd or badly aligned faces are such points. Their hits
look like leakage of a person and are none.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.diagnostics.findings import Finding
from idsim.audit.rates.edges import distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FACTOR",
    "LEAST",
    "HubStatistics",
    "hub_finding",
    "hub_rows",
    "hub_statistics",
    "k_occurrence",
    "rate_without_rows",
    "skewness",
]

# The rule of hub_rows: 10 independent probes that share one image by chance, where the mean is a tenth of that, have
# a probability of 1e-7 (Poisson).
LEAST = 10
FACTOR = 10.0

# What the finding warns at, from as many hit units on as make shares meaningful.
ENOUGH_UNITS = 30
TOP_SHARE = 0.10
FEW_IDENTITIES = 0.10


def k_occurrence(
    ids: NDArray[np.int64], rows: int, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return float64 ``[rows]``: in how many best-k lists every gallery row stands.

    Parameters
    ----------
    ids : ndarray
        int64 ``[m, k]``: best matches of every probe; -1 beyond the last.
    rows : int
        Of the gallery.
    weights : ndarray, optional
        float64 ``[m]``: how much a list counts, 1 / size of its cluster; default 1.
    """
    each = np.ones(len(ids)) if weights is None else weights
    listed = ids >= 0
    counted = np.broadcast_to(each[:, None], ids.shape)[listed]
    return np.bincount(ids[listed], weights=counted, minlength=rows).astype(np.float64)


def skewness(values: NDArray[np.float64]) -> float:
    """Return the third standardised moment (population form); 0 where all values are equal."""
    if not len(values):
        return 0.0
    centred = values - values.mean()
    variance = float(np.mean(centred**2))
    # Equal values may differ from their mean in the last bits.
    if variance <= 1e-24 * max(1.0, float(values.max()) ** 2):
        return 0.0
    return float(np.mean(centred**3) / variance**1.5)


def hub_rows(
    units: NDArray[np.int64],
    columns: NDArray[np.int64],
    rows: int,
    least: int = LEAST,
    factor: float = FACTOR,
) -> NDArray[np.bool_]:
    """Return bool ``[rows]``: which gallery rows are hubs.

    A row is a hub where at least `least` different units reach it, and at least `factor` times as many as the mean
    of all rows.

    Hits of the synthetic set mark hubs and people who were leaked many times alike. Hits of *real* faces of other
    people (holdout against the gallery) mark hubs only: nobody was trained to resemble those.

    Parameters
    ----------
    units : ndarray
        int64 ``[p]``: cluster or person of the probe of every pair that reaches the threshold.
    columns : ndarray
        int64 ``[p]``: gallery row of every pair.
    rows : int
        Of the gallery.
    least, factor
        Of the rule.
    """
    counts = _units_per_row(units, columns, rows)
    limit = max(float(least), factor * float(counts.mean()) if rows else 0.0)
    return np.asarray(counts >= limit)


def rate_without_rows(
    images: NDArray[np.int64],
    columns: NDArray[np.int64],
    hubs: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> float:
    """Return the leak rate against the whole gallery without its hub rows.

    Parameters
    ----------
    images, columns : ndarray
        int64 ``[p]``: synthetic item and gallery row of every pair that reaches the threshold.
    hubs : ndarray
        bool ``[rows]``: the rows that do not count.
    weights : ndarray
        float64 ``[n]``: 1 / size of its cluster, for every synthetic item.
    """
    hit = np.zeros(len(weights), np.bool_)
    hit[images[~hubs[columns]]] = True
    return float(weights[hit].sum() / weights.sum())


@dataclass(frozen=True)
class HubStatistics:
    """How the hits spread over a gallery.

    Attributes
    ----------
    rows : int
        Of the gallery.
    k : int
        Length of the best-k lists.
    k_occurrence_skewness, k_occurrence_max : float
        Of how often rows stand in the lists; the maximum in lists, weighted.
    hits : float
        Weighted pairs that reach the threshold: a cluster that reaches a row with all its images counts 1.
    hit_units : int
        Clusters with a hit.
    hit_rows, hit_identities : int
        Gallery images and persons that are hit.
    top_1_share, top_10_share : float
        Share of the hits that the most hit image, and the ten most hit ones, take.
    effective_identities : float
        Inverse Simpson number of the persons behind the hits: near 1 when all go to one person.
    hubs : int
        Rows that `hub_rows` marks.
    """

    rows: int
    k: int
    k_occurrence_skewness: float
    k_occurrence_max: float
    hits: float
    hit_units: int
    hit_rows: int
    hit_identities: int
    top_1_share: float
    top_10_share: float
    effective_identities: float
    hubs: int


def hub_statistics(
    ids: NDArray[np.int64],
    probe_weights: NDArray[np.float64],
    pair_units: NDArray[np.int64],
    pair_weights: NDArray[np.float64],
    columns: NDArray[np.int64],
    persons: NDArray[np.int64],
) -> HubStatistics:
    """Return how the hits of the synthetic set spread over a gallery.

    Parameters
    ----------
    ids : ndarray
        int64 ``[m, k]``: best matches of every synthetic embedding; -1 beyond the last.
    probe_weights : ndarray
        float64 ``[m]``: 1 / size of the cluster of each.
    pair_units, pair_weights : ndarray
        int64 and float64 ``[p]``: cluster and weight of the synthetic embedding of every pair that reaches the
        threshold.
    columns : ndarray
        int64 ``[p]``: gallery row of every pair.
    persons : ndarray
        int64 ``[rows]``: person of every gallery row.
    """
    rows = len(persons)
    occurrence = k_occurrence(ids, rows, probe_weights)
    hits = np.bincount(columns, weights=pair_weights, minlength=rows).astype(np.float64)
    total = float(hits.sum())
    by_person = np.bincount(persons, weights=hits) if rows else np.zeros(0)
    top = -np.partition(-hits, min(10, rows) - 1)[: min(10, rows)] if rows else hits
    return HubStatistics(
        rows=rows,
        k=ids.shape[1],
        k_occurrence_skewness=skewness(occurrence),
        k_occurrence_max=float(occurrence.max()) if rows else 0.0,
        hits=total,
        hit_units=len(distinct(pair_units)),
        hit_rows=int((hits > 0).sum()),
        hit_identities=int((by_person > 0).sum()),
        top_1_share=float(top.max()) / total if total else 0.0,
        top_10_share=float(top.sum()) / total if total else 0.0,
        effective_identities=total**2 / float((by_person**2).sum()) if total else 0.0,
        hubs=int(hub_rows(pair_units, columns, rows).sum()),
    )


def hub_finding(
    gallery: str, statistics: HubStatistics, excess: tuple[float, float] | None = None
) -> Finding:
    """Return what the spread of the hits says.

    Parameters
    ----------
    gallery : str
        Name of the gallery, for the sentence.
    statistics : HubStatistics
        Of the synthetic set in the gallery.
    excess : tuple of float, optional
        Excess leak rate with all rows, and without hub rows.
    """
    s = statistics
    numbers = {"gallery": gallery, **asdict(s)}
    if excess is not None:
        numbers |= {"excess": excess[0], "excess_without_hubs": excess[1]}
    if not s.hit_units:
        return Finding("hubs", "info", f"No synthetic image reaches an image of the {gallery} set.", numbers)
    few = s.effective_identities < FEW_IDENTITIES * s.hit_units
    narrow = s.hit_units >= ENOUGH_UNITS and (s.top_1_share >= TOP_SHARE or few)
    spread = (
        f"Hits of {s.hit_units} synthetic clusters go to {s.hit_identities} people of the {gallery} set, as "
        f"unevenly as if they went to {s.effective_identities:.1f}; one image takes {100 * s.top_1_share:.0f} % of "
        f"them and ten images take {100 * s.top_10_share:.0f} %"
    )
    if not (narrow or s.hubs):
        return Finding("hubs", "info", spread + ".", numbers)
    meaning = (
        ": suspect images that resemble everybody (blurred, odd or badly aligned ones) before calling it a leak of "
        "those people, and look at the images that are hit most"
    )
    rerun = (
        ""
        if excess is None
        else f". Without {s.hubs} such images the excess leak rate is {excess[1]:.4g} instead of {excess[0]:.4g}"
    )
    return Finding("hubs", "warning", spread + meaning + rerun + ".", numbers)


def _units_per_row(units: NDArray[np.int64], columns: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Return int64 ``[rows]``: how many different units reach every row."""
    if not len(units):
        return np.zeros(rows, np.int64)
    cells = distinct(units * np.int64(rows) + columns)
    return np.bincount(cells % rows, minlength=rows).astype(np.int64)
