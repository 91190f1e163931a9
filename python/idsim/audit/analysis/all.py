"""All analyses of one synthetic set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from idsim.audit.analysis.checks import findings_of
from idsim.audit.analysis.context import Context
from idsim.audit.analysis.curves import curves_of
from idsim.audit.analysis.literature import listed_pairs, published
from idsim.audit.analysis.manifold import face_manifold, repetition
from idsim.audit.analysis.persons import density, exposure, membership, membership_by_images, persons_of
from idsim.audit.analysis.significance import (
    closeness,
    difference_in_differences,
    identities,
    power,
    tests,
)
from idsim.audit.analysis.strata import strata
from idsim.audit.analysis.tails import by_gallery_size, lift
from idsim.audit.faces import NOT_REDONE, EmbeddingsNeededError
from idsim.audit.persons.thumbnails import near_copies

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.evaluation import Baseline, PointResult, Sets
    from idsim.audit.records import Key

__all__ = ["Analysis", "analyse"]


@dataclass(frozen=True)
class Analysis:
    """What was found beyond the leak rates.

    Attributes
    ----------
    entries : dict
        Plain JSON values for the summary, by analysis; ``refused`` says why there is nothing.
    findings : list of dict
        What the checks found.
    curves : dict
        What figures need beside them, as plain JSON values.
    persons : dict or None
        The persons of the training set, as columns; codes instead of names.
    """

    entries: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)
    persons: dict[str, NDArray[Any]] | None = None


def analyse(
    config: ScanConfig,
    baseline: Baseline,
    sets: Sets,
    points: list[PointResult],
    key: Key,
    tell: Callable[[str, int, int], None],
) -> Analysis:
    """Analyse one synthetic set.

    Parameters
    ----------
    config : ScanConfig
        The scan with one matcher.
    baseline : Baseline
        What the real sets say, with the comparisons of this synthetic set.
    sets : Sets
        The sets.
    points : list of PointResult
        The operating points, the primary one first.
    key : bytes
        Of the pseudonyms.
    tell : callable
        Told how far it is.
    """
    context = Context(config, baseline, sets, points)
    steps: list[tuple[str, Callable[[Context], dict[str, Any]]]] = [
        ("membership", membership),
        ("density_ratio", density),
        ("membership_by_images", membership_by_images),
        ("tail_lift_curve", lift),
        ("by_gallery_size", by_gallery_size),
        ("closeness", closeness),
        ("tests", tests),
        ("identities", identities),
        ("difference_in_differences", difference_in_differences),
        ("power", power),
        ("near_copies", lambda context: near_copies(context, baseline.copies)),
        ("literature", published),
        ("repetition", repetition),
        ("manifold", face_manifold),
        ("strata", strata),
    ]
    entries: dict[str, Any] = {}
    for number, (name, step) in enumerate(steps):
        tell("analysis", number, len(steps) + 2)
        try:
            entries[name] = step(context)
        except EmbeddingsNeededError:
            entries[name] = dict(NOT_REDONE)
    tell("analysis", len(steps), len(steps) + 2)
    exposed = exposure(context)
    entries["exposure"], table = persons_of(context, exposed)
    curves = curves_of(context, exposed)
    entries["nearest_pairs"] = listed_pairs(context, key)
    tell("analysis", len(steps) + 1, len(steps) + 2)
    findings = [finding.entry() for finding in findings_of(context, key)]
    tell("analysis", len(steps) + 2, len(steps) + 2)
    return Analysis(entries, findings, curves, table)
