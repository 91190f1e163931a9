"""Random exchange of membership among persons, inside strata."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["ExchangeGroup", "exchange_groups", "exchanged"]


class ExchangeGroup(NamedTuple):
    """The persons of one stratum: columns of those that matter, and how many of all are members or not."""

    columns: NDArray[np.int64]
    members: int
    others: int


def exchange_groups(
    people: NDArray[np.int64], member: NDArray[np.bool_], strata: NDArray[np.int64]
) -> list[ExchangeGroup]:
    """Return the strata of the persons that matter, such as those with a hit.

    Parameters
    ----------
    people : ndarray
        int64 ``[p]``: the persons that matter, each once.
    member, strata : ndarray
        bool and int64 ``[k]``: membership and stratum of every person.
    """
    if not len(people):
        return []
    names, codes = np.unique(strata, return_inverse=True)
    codes = codes.reshape(-1)
    members = np.bincount(codes, weights=member, minlength=len(names)).astype(np.int64)
    total = np.bincount(codes, minlength=len(names))
    order = np.argsort(codes[people], kind="stable")
    present, starts = np.unique(codes[people][order], return_index=True)
    return [
        ExchangeGroup(columns, int(members[code]), int(total[code] - members[code]))
        for code, columns in zip(present.tolist(), np.split(order, starts[1:]), strict=True)
    ]


def exchanged(
    groups: Sequence[ExchangeGroup], people: int, count: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return bool ``[count, people]``: membership of the persons that matter after random exchanges.

    How many of them are members follows the hypergeometric distribution of their stratum, and which ones is a
    random choice.
    """
    labels = np.zeros((count, people), np.bool_)
    for columns, members, others in groups:
        drawn = rng.hypergeometric(members, others, len(columns), size=count)
        labels[:, columns] = rng.permuted(np.arange(len(columns)) < drawn[:, None], axis=1)
    return labels
