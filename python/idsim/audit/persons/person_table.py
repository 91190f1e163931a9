"""One row per person: by whom and how closely a person is reproduced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.pairs.compared import better_is_higher

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.persons.exposure import PersonExposure

__all__ = ["person_table", "top_persons"]


def person_table(
    found: PersonExposure,
    persons: tuple[NDArray[np.int64], NDArray[np.int64]],
    best: tuple[tuple[NDArray[Any], NDArray[np.int64]], tuple[NDArray[Any], NDArray[np.int64]]],
    metric: str,
) -> dict[str, NDArray[Any]]:
    """Return the persons of training, in order of their codes, as columns.

    Parameters
    ----------
    found : PersonExposure
        What was measured at the threshold.
    persons : tuple of ndarray
        int64: code of the person of every embedding of training, and of the holdout.
    best : tuple
        Of training and of the holdout: scores float ``[n]`` and ids int64 ``[n]`` of the best synthetic match of
        every embedding; id -1 where there is none.
    metric : str
        ``l2``: lower is better.

    Returns
    -------
    dict of ndarray
        ``person`` int64 code; ``images`` int64; ``clusters`` int64, those that reach the person;
        ``best_score`` float64; ``best_synthetic`` and ``best_image`` int64, the embeddings behind it, -1 where
        there is none; ``margin`` float64, by how much the best score is better than that of every person of
        the holdout (negative: somebody in the holdout, where nothing can leak from, is matched better; NaN
        where either has no match); ``p`` and ``q`` float64 of the number of clusters.
    """
    training, holdout = (
        _best_of_person(scores, ids, codes, metric)
        for (scores, ids), codes in zip(best, persons, strict=True)
    )
    rows = training
    score = np.asarray(best[0][0], dtype=np.float64)[rows]
    limit = better_is_higher(best[1][0], metric)[holdout].max(initial=-np.inf)
    oriented = better_is_higher(score, metric)
    matched = np.isfinite(oriented) & np.isfinite(limit)
    margin = np.full(len(rows), np.nan)
    margin[matched] = oriented[matched] - limit
    synthetic = np.asarray(best[0][1], dtype=np.int64)[rows]
    return {
        "person": np.arange(len(rows), dtype=np.int64),
        "images": np.bincount(persons[0]).astype(np.int64),
        "clusters": found.counts[0],
        "best_score": score,
        "best_synthetic": synthetic,
        "best_image": np.where(synthetic < 0, -1, rows).astype(np.int64),
        "margin": margin,
        "p": found.individuals.p,
        "q": found.individuals.q,
    }


def _best_of_person(
    scores: NDArray[Any], ids: NDArray[np.int64], persons: NDArray[np.int64], metric: str
) -> NDArray[np.int64]:
    """Return the embedding of every person with the best match; of equal ones the first."""
    if not scores.shape == ids.shape == persons.shape:
        raise ValueError(
            f"scores, ids and persons have shapes {scores.shape}, {ids.shape} and {persons.shape}"
        )
    order = np.lexsort((-better_is_higher(scores, metric), persons))
    first = np.append(True, np.diff(persons[order]) > 0)
    return np.asarray(order[first], dtype=np.int64)


def top_persons(table: dict[str, NDArray[Any]], metric: str, count: int) -> list[dict[str, Any]]:
    """Return the most exposed persons as plain values: by clusters, then best score, then code.

    Persons that no cluster reaches are left out.
    """
    oriented = better_is_higher(table["best_score"], metric)
    order = np.lexsort((table["person"], -oriented, -table["clusters"]))
    listed = order[table["clusters"][order] > 0][:count]
    return [{name: _plain(column[row].item()) for name, column in table.items()} for row in listed.tolist()]


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None
