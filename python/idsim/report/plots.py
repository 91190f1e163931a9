"""All figures of a run, and why others are left out. What each shows: docs/report-figures.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsim.report.agreement_plots import agreement, consensus
from idsim.report.data import SetResults
from idsim.report.figure import Figure
from idsim.report.naming import Identity, identities
from idsim.report.rate_plots import exposure, leak_rate_by_gallery_size, leak_rate_by_threshold, tail_lift
from idsim.report.rendering import FORMATS, save, stylesheet, svg
from idsim.report.row_plots import matchers, runs, series
from idsim.report.score_plots import det, score_distributions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from idsim.report.data import MatcherResults, RunResults

    OfSet = Callable[[SetResults, Identity], Figure | str]

__all__ = ["FORMATS", "Figure", "comparison", "figures", "left_out", "save", "stylesheet", "svg"]

# Kinds by what they are of, in the order of a page.
OF_SETS: dict[str, OfSet] = {
    "score-distributions": score_distributions,
    "tail-lift": tail_lift,
    "leak-rate-by-threshold": leak_rate_by_threshold,
    "leak-rate-by-gallery-size": leak_rate_by_gallery_size,
    "exposure": exposure,
}


def figures(run: RunResults) -> list[Figure]:
    """Return the figures of a run that its data support.

    First those over matchers and sets, then those of each matcher, then those of each matcher and set.
    """
    return [figure for _, figure in _made(run) if isinstance(figure, Figure)]


def left_out(run: RunResults) -> list[tuple[str, str]]:
    """Return the names of the figures that the data do not support, and why."""
    return [(name, figure) for name, figure in _made(run) if isinstance(figure, str)]


def comparison(found: Sequence[RunResults]) -> list[Figure]:
    """Return the figures that compare several runs.

    Raises
    ------
    ValueError
        There are fewer than two runs.
    """
    if len(found) < 2:
        raise ValueError(f"a comparison needs two runs or more, not {len(found)}")
    return [runs(found, Identity(None, None, ""))]


def _made(run: RunResults) -> list[tuple[str, Figure | str]]:
    whole = Identity(None, None, "")
    made: list[tuple[str, Figure | str]] = [("matchers", matchers(run, whole))]
    several, is_series = len(run.matchers) > 1, any(matcher.is_series for matcher in run.matchers)
    names = dict.fromkeys(found.name for found in run.sets) if several else {"": None}
    for identity in identities([(None, name) for name in names], False, is_series):
        made += [
            (f"agreement{identity.ending}", agreement(run, identity)),
            (f"consensus{identity.ending}", consensus(run, identity)),
        ]
    by_matcher = identities([(matcher.name, None) for matcher in run.matchers], several, False)
    for matcher, identity in zip(run.matchers, by_matcher, strict=True):
        made.append((f"series{identity.ending}", series(matcher, identity, run.confidence)))
        made.append((f"det{identity.ending}", det(_any_set(matcher), identity)))
    sets = run.sets
    by_set = identities([(found.matcher, found.name) for found in sets], several, is_series)
    for found, identity in zip(sets, by_set, strict=True):
        for kind, maker in OF_SETS.items():
            made.append((f"{kind}{identity.ending}", maker(found, identity)))
    return made


def _any_set(matcher: MatcherResults) -> SetResults:
    """Return results that have the calibration of a matcher, which is the same for all sets."""
    return SetResults(matcher.name, "", matcher.folder, matcher.summary)
