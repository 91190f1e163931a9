"""From comparisons to the final files of a scan: calibration, statistics, tables, summaries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from idsim.audit.evaluation import evaluate, measure_baseline
from idsim.audit.folder import SUMMARY
from idsim.audit.outcome import as_measured, write_evaluation, write_series
from idsim.audit.persons.thumbnails import CopyScores
from idsim.audit.several import MATCHERS, write_several
from idsim.audit.times import Times

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from idsim.audit.agreeing import Compare
    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.evaluation import Baseline
    from idsim.audit.outcome import Settle
    from idsim.audit.pairs.pairing import Pairing
    from idsim.audit.records import Key
    from idsim.audit.work import Work

    Tell = Callable[[str, int, int], None]

__all__ = ["Known", "copy_scores", "finish"]


@dataclass(frozen=True)
class Known:
    """What is known of the sets of a scan once they are compared.

    Attributes
    ----------
    compare : callable
        Returns the scores of a matcher between the real sets and a synthetic one, by its name.
    copies : callable
        Returns the comparisons of thumbnails with a synthetic set, by its name; None where there are none.
    key : bytes or mapping
        Of the pseudonyms.
    """

    compare: Compare
    copies: Callable[[str], CopyScores | None]
    key: Key


def copy_scores(pairing: Pairing | None, variant: str) -> CopyScores | None:
    """Return the comparisons of thumbnails with one synthetic set, where they were made."""
    if pairing is None:
        return None
    found = [pairing.compared(pair, variant) for pair in ("SxT", "SxH", "HxH")]
    if found[0] is None or found[1] is None or found[2] is None:
        return None
    sets = pairing.real | {"synthetic": pairing.work.series[variant].faces()}
    return CopyScores(sets, found[0], found[1], found[2])


def finish(
    config: ScanConfig,
    folder: Path,
    works: list[Work],
    known: Known,
    tell: Tell,
    settle: Settle = as_measured,
    times: Times | None = None,
) -> dict[str, Any]:
    """Compute the statistics and write the final files; the summary comes last and marks the run finished.

    Parameters
    ----------
    config : ScanConfig
        The scan.
    folder : Path
        Where the files go.
    works : list of Work
        By matcher.
    known : Known
        What they were compared with.
    tell : callable
        Told how far it is.
    settle : callable
        Called with the folder and the content of every summary; what it returns is written.
    times : Times, optional
        Takes note of the time of every stage.
    """
    times = times or Times()
    if not config.matchers:
        (work,) = works
        return _finish_matcher(work, known, folder, tell, settle, times)
    for work in works:
        place = folder / MATCHERS / work.label
        place.mkdir(parents=True, exist_ok=True)
        if not (place / SUMMARY).exists():
            _finish_matcher(work, known, place, tell, settle, times)
    with times.measured("all matchers together"):
        return write_several(config, folder, works, known.compare, settle)


def _finish_matcher(
    work: Work, known: Known, folder: Path, tell: Tell, settle: Settle, times: Times
) -> dict[str, Any]:
    config, key = work.config, known.key
    training, holdout = work.real["training"].faces(), work.real["holdout"].faces()
    probes = work.real["probes"].faces() if "probes" in work.real else None
    tell("calibration", 0, 1)
    with times.measured("calibration"):
        baseline = measure_baseline(config, training, holdout, known.compare(work, ""), probes)
    tell("calibration", 1, 1)

    def of_set(variant: str) -> Baseline:
        comparisons, copies = known.compare(work, variant), known.copies(variant)
        return replace(baseline, comparisons=comparisons, copies=copies, matcher=str(work.matcher["name"]))

    if len(work.series) > 1:
        with times.measured("statistics of the series"):
            return write_series(folder, work, baseline, of_set, key, tell, settle)
    ((variant, part),) = work.series.items()
    with times.measured("statistics"):
        evaluation = evaluate(config, of_set(variant), part.faces(), work.skipped, key, tell)
    with times.measured("files"):
        return write_evaluation(config, folder, evaluation, work.matcher, key, settle=settle)
