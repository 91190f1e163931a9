"""P-values of single synthetic images and identities, by rank among scores that cannot be leaks.

Same probe: the image itself is searched for in galleries of the holdout that are as large as that of training.
Real probes: real persons who are in no gallery are searched for in the training set. Either way p is a rank, and
no distribution is assumed (conformal p-values; Bates, Candès, Lei, Romano and Sesia 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.rates.edges import distinct
from idsim.audit.rates.resampling import image_counts, keep_images
from idsim.audit.significance.multiple import Corrected, correct, corrected_entry, harmonic
from idsim.audit.significance.nearest import best_among

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared
    from idsim.audit.significance.nearest import Searches

__all__ = [
    "Conformal",
    "ImageValues",
    "conformal_entry",
    "conformal_test",
    "disjoint_galleries",
    "real_probe_values",
    "same_probe_values",
]

FALSE_DISCOVERY = ("benjamini-hochberg", "benjamini-yekutieli")


@dataclass(frozen=True)
class ImageValues:
    """The p-value of every synthetic item.

    Attributes
    ----------
    p_values : ndarray
        float64 ``[n]``; 1 for an item without a face.
    images : ndarray
        int64 ``[n]``: 1 for an item with a face, else 0.
    calibration : str
        ``holdout galleries`` or the name of the probes.
    size : int
        Galleries, or persons searched for, among whom an image takes its rank.
    persons : int
        Persons of training that were searched.
    refusal : str
        Why there are no p-values; empty where there are.
    """

    p_values: NDArray[np.float64]
    images: NDArray[np.int64]
    calibration: str
    size: int
    persons: int
    refusal: str = ""

    @property
    def least(self) -> float:
        """The smallest p-value that a single image can have."""
        return 1.0 / (self.size + 1)


@dataclass(frozen=True)
class Conformal:
    """Which synthetic identities are nearer to training than chance explains.

    Attributes
    ----------
    values : ImageValues
        Of the images.
    p_clusters : ndarray
        float64 ``[c]``: of every cluster, the smallest of its images times the number of these.
    corrected : Corrected
        Q-values and rejections of the clusters.
    least : float
        The smallest p-value that a cluster can have.
    needed : int or None
        Clusters that must have their smallest p-value at once for any to be flagged; None where even all of them
        would not do.
    sentence : str
        What the test found, and whether it could.
    """

    values: ImageValues
    p_clusters: NDArray[np.float64]
    corrected: Corrected
    least: float
    needed: int | None
    sentence: str


# --- calibration by the same probe ----------------------------------------------------------------


def disjoint_galleries(
    training: NDArray[np.int64],
    holdout: NDArray[np.int64],
    persons: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return a gallery of training, and as many disjoint ones of the holdout as it can fill.

    All have the same number of persons, drawn at random. Persons are paired across galleries by their number of
    images, and as many images of each take part, at random, as the poorest of the paired ones has.

    Parameters
    ----------
    training, holdout : ndarray
        int64 ``[g]``: code of the person of every embedding; 0 .. k-1.
    persons : int
        In every gallery; at most those of either set.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    tuple of ndarray
        bool ``[g]`` of training, and int64 ``[h]``: the gallery of every embedding of the holdout, -1 for none.
    """
    counts = image_counts(training), image_counts(holdout)
    if not 0 < persons <= min(len(counts[0]), len(counts[1])):
        raise ValueError(
            f"galleries of {persons} persons cannot be made of {len(counts[0])} in training and {len(counts[1])} "
            "in holdout"
        )
    total = len(counts[1]) // persons
    chosen = rng.permutation(len(counts[0]))[:persons]
    others = rng.permutation(len(counts[1]))[: total * persons].reshape(total, persons)
    chosen = chosen[np.argsort(-counts[0][chosen], kind="stable")]
    others = np.take_along_axis(others, np.argsort(-counts[1][others], axis=1, kind="stable"), axis=1)
    keep = np.minimum(counts[0][chosen], counts[1][others].min(axis=0))
    used = keep_images(training, chosen, keep, len(counts[0]), rng)
    kept = keep_images(holdout, others.ravel(), np.tile(keep, total), len(counts[1]), rng)
    number = np.full(len(counts[1]), -1, np.int64)
    number[others.ravel()] = np.repeat(np.arange(total), persons)
    return used, np.where(kept, number[holdout], -1)


def same_probe_values(
    training: Compared,
    holdout: Compared,
    persons: tuple[NDArray[np.int64], NDArray[np.int64]],
    synthetic: Searches,
    rng: np.random.Generator,
    gallery_persons: int | None = None,
) -> ImageValues:
    """Return p-values by rank of the best match in training among those in K disjoint holdout galleries.

    ``p = (1 + holdout galleries with a match at least as good) / (K + 1)``. The image is its own control, so it
    may differ from real ones in any way. Exact if chance decided which persons were trained on.

    Where the matches kept do not tell the rank, because others as good may be missing from them, p is 1.

    Parameters
    ----------
    training, holdout : Compared
        The synthetic set compared with either gallery.
    persons : tuple of ndarray
        int64 ``[g]``: code of the person of every embedding of training and of holdout.
    synthetic : Searches
        Clusters and rows of the synthetic set.
    rng : numpy.random.Generator
        Source of the galleries.
    gallery_persons : int, optional
        Persons in every gallery. Default: all of training, or those of the holdout where these are fewer. A
        smaller number makes more galleries, and leaves persons of training out.
    """
    sizes = len(image_counts(persons[0])), len(image_counts(persons[1]))
    size = min(sizes) if gallery_persons is None else gallery_persons
    used, galleries = disjoint_galleries(*persons, size, rng)
    total = sizes[1] // size
    best = best_among(training, used, persons[0]).scores
    reached, known = _galleries_reaching(holdout, galleries, best, total)
    values = np.where(known, (1.0 + reached) / (total + 1), 1.0)
    return _of_items(values, synthetic, "holdout galleries", total, size)


def _galleries_reaching(
    compared: Compared, galleries: NDArray[np.int64], best: NDArray[np.float64], total: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return how many galleries have a match at least as good as `best`, and whether all such are listed."""
    level = float(better_is_higher(compared.level, compared.metric))
    scores = better_is_higher(compared.scores, compared.metric)
    last = np.where(compared.ids[:, -1] >= 0, scores[:, -1], -np.inf)
    # Matches that equal the last one kept may go on beyond it.
    known = np.isfinite(best) & ((best >= level) | (best > last))
    wanted = np.where(known, best, np.inf)
    rows, places = np.nonzero((scores >= wanted[:, None]) & (compared.ids >= 0))
    tail = compared.tail
    also = better_is_higher(tail.scores, compared.metric) >= wanted[tail.rows]
    rows = np.concatenate([rows, tail.rows[also]])
    numbers = galleries[np.concatenate([compared.ids[rows[: len(places)], places], tail.columns[also]])]
    keys = (rows * total + numbers)[numbers >= 0]
    return np.bincount(distinct(keys) // total, minlength=len(best)).astype(np.int64), known


# --- calibration by real probes -------------------------------------------------------------------


def real_probe_values(
    training: Compared,
    probes: Compared,
    probe_persons: NDArray[np.int64],
    synthetic: Searches,
    persons: NDArray[np.int64],
    rng: np.random.Generator,
    name: str = "probes",
) -> ImageValues:
    """Return p-values by rank of the best match in training among those of real persons who are not in it.

    ``p = (1 + probes with a match at least as good) / (probes + 1)``. Assumes that, without leakage, a synthetic
    image resembles persons of the training set as much as a fresh real one does.

    Parameters
    ----------
    training, probes : Compared
        The synthetic set, and the probes, compared with the training set.
    probe_persons : ndarray
        int64 ``[c]``: code of the person of every embedding of the probes. One image of each person takes part,
        drawn at random: several of one person are not exchangeable with those of others.
    synthetic : Searches
        Clusters and rows of the synthetic set.
    persons : ndarray
        int64 ``[g]``: code of the person of every embedding of training.
    rng : numpy.random.Generator
        Source of the draw.
    name : str
        What to call them: ``probes``, or ``holdout``.
    """
    if len(probe_persons) != len(probes.scores):
        raise ValueError(f"{len(probes.scores)} {name} were compared, and {len(probe_persons)} have a person")
    size, enrolled = len(np.unique(probe_persons)), len(image_counts(persons))
    if not size:
        values = np.ones(len(training.scores))
        return _of_items(values, synthetic, name, 0, enrolled, f"there is no real face among the {name}")
    order = rng.permutation(len(probe_persons))
    _, first = np.unique(probe_persons[order], return_index=True)
    calibration = np.sort(better_is_higher(probes.scores[order[first], 0], probes.metric))
    best = better_is_higher(training.scores[:, 0], training.metric)
    reached = size - np.searchsorted(calibration, best, side="left")
    return _of_items((1.0 + reached) / (size + 1), synthetic, name, size, enrolled)


def _of_items(
    values: NDArray[np.float64],
    synthetic: Searches,
    calibration: str,
    size: int,
    persons: int,
    refusal: str = "",
) -> ImageValues:
    total = len(synthetic.clusters)
    if len(values) != len(synthetic.rows):
        raise ValueError(f"{len(values)} rows were compared, and {len(synthetic.rows)} items have a face")
    result, images = np.ones(total), np.zeros(total, np.int64)
    result[synthetic.rows] = values
    images[synthetic.rows] = 1
    return ImageValues(result, images, calibration, size, persons, refusal)


# --- clusters -------------------------------------------------------------------------------------


def conformal_test(
    values: ImageValues, clusters: NDArray[np.int64], level: float = 0.05, method: str = "benjamini-hochberg"
) -> Conformal:
    """Return which clusters are flagged at a false discovery rate.

    Images of one cluster are not exchangeable with others: they collapse to one p, that of the best image times
    the number of images with a face (Bonferroni inside the cluster). A cluster without a face has p = 1 and counts
    as a test.

    Parameters
    ----------
    values : ImageValues
        Of every item.
    clusters : ndarray
        int64 ``[n]``: cluster of every item; codes 0 .. c-1.
    level : float
        False discovery rate.
    method : str
        ``benjamini-hochberg``: holds for real probes, which share one calibration set (Bates and co-authors);
        ``benjamini-yekutieli``: holds under any dependence, hence also for holdout galleries.

    Raises
    ------
    ValueError
        The method is another one.
    """
    if method not in FALSE_DISCOVERY:
        raise ValueError(f"method is one of {', '.join(FALSE_DISCOVERY)}, not {method!r}")
    total = int(clusters.max()) + 1
    sizes = np.bincount(clusters, weights=values.images, minlength=total)
    best = np.ones(total)
    np.minimum.at(best, clusters, values.p_values)
    p_clusters = np.minimum(1.0, best * np.maximum(sizes, 1))
    corrected = correct(p_clusters, method, level)
    attainable = np.sort(np.where(sizes > 0, np.minimum(1.0, sizes * values.least), 1.0))
    needed = _needed(attainable, method, level)
    sentence = _sentence(values, corrected, float(attainable[0]), needed)
    return Conformal(values, p_clusters, corrected, float(attainable[0]), needed, sentence)


def _needed(attainable: NDArray[np.float64], method: str, level: float) -> int | None:
    """Return the least number of clusters at their smallest p-values that a step-up method rejects."""
    total = len(attainable)
    cost = harmonic(total) if method == "benjamini-yekutieli" else 1.0
    enough = attainable <= np.arange(1, total + 1) * level / (total * cost) * (1 + 1e-12)
    return int(np.argmax(enough)) + 1 if enough.any() else None


def _sentence(values: ImageValues, corrected: Corrected, least: float, needed: int | None) -> str:
    if values.refusal:
        return f"No identity was tested: {values.refusal}."
    kind = "galleries" if values.calibration == "holdout galleries" else "persons"
    among = f"{values.size} holdout {kind}" if kind == "galleries" else f"{values.size} {values.calibration}"
    text = (
        f"{corrected.rejections} of {corrected.tests} synthetic identities are flagged at a false discovery rate "
        f"of {100 * corrected.level:g} %, by rank among {among}; the smallest p-value possible is {least:.2g}. "
    )
    if needed is None:
        return text + (
            "That is too large for this number of tests: nothing could have been flagged, whatever the scores."
        )
    if needed > 1:
        return text + (
            f"With this number of tests nothing is flagged unless {needed} identities have such a p-value at once: "
            "a few single leaks cannot be shown in this way."
        )
    return text + "A single leak can be flagged."


def conformal_entry(found: Conformal) -> dict[str, Any]:
    """Return the test of the identities as plain JSON values."""
    values = found.values
    return {
        "calibration": values.calibration,
        "calibration_size": values.size,
        "training_persons": values.persons,
        "images": int(values.images.sum()),
        "items": len(values.images),
        "least_p": found.least,
        **corrected_entry(found.corrected),
        "needed_at_least_p": found.needed,
        "refused": values.refusal or None,
        "sentence": found.sentence,
    }
