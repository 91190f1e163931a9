"""The scores of one matcher between the sets of a scan, wherever they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsim.audit.pairs.pair_names import sets_of
from idsim.audit.pairs.stored import StoredComparisons

if TYPE_CHECKING:
    from idsim.audit.pairs.compared import Compared
    from idsim.audit.pairs.comparing import Comparisons
    from idsim.audit.pairs.pairing import Pairing
    from idsim.audit.work import Work

__all__ = ["comparisons_of"]


def comparisons_of(
    work: Work, pairing: Pairing | None, variant: str, engine: Comparisons | None = None
) -> Comparisons:
    """Return the scores between the real sets and one synthetic set, by its name; each is read when it is asked for.

    Parameters
    ----------
    work : Work
        Of the matcher.
    pairing : Pairing or None
        Its comparisons; None of a matcher that gives scores.
    variant : str
        The synthetic set.
    engine : Comparisons, optional
        Answers what is not stored; default: the engine, from the embeddings.
    """
    if pairing is None:
        assert work.comparisons is not None, "a matcher has vectors or scores"
        return work.comparisons
    names = {sets_of(pair): pair for pair in work.pairs()}

    def load(rows: str, columns: str) -> Compared | None:
        pair = names.get((rows, columns))
        return None if pair is None else pairing.compared(pair, variant)

    return StoredComparisons(pairing.metric, load, engine)
