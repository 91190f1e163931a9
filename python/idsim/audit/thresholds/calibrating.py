"""All that is known of the thresholds of a matcher on one gallery: what ``idsim calibrate`` writes.

The layout of ``calibration.json`` is described in docs/calibration.md; `SCHEMA_VERSION` changes when it does.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim._core import build_info
from idsim.audit.pairs.compared import reaches
from idsim.audit.rates.dependence import pairs_of
from idsim.audit.rates.intervals import rule_of_three
from idsim.audit.summary import rounded
from idsim.audit.thresholds.calibration import Calibrator, OperatingPoint, Target
from idsim.audit.thresholds.calibration_set import compare_with_itself
from idsim.audit.thresholds.contamination import (
    Contamination,
    choose_cut,
    contamination_entry,
    find_contamination,
    threshold_sensitivity,
)
from idsim.audit.thresholds.extremes import extrapolate, fit_tail, tail_entry
from idsim.audit.thresholds.gumbel import fit_gumbel, growth_entry
from idsim.audit.thresholds.roc import fmr_grid, impostor_quantiles, miss_interval, separate, separation_entry
from idsim.audit.thresholds.sampled_impostors import mated_scores
from idsim.audit.thresholds.sized_searches import sized_entry, sized_points
from idsim.audit.thresholds.tail_impostors import TailImpostors
from idsim.audit.thresholds.vertex_bootstrap import bootstrap_entry, bootstrap_false_match_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.thresholds.calibration_set import CalibrationSet, SelfComparison, Tell
    from idsim.options import Metric

__all__ = ["SCHEMA_VERSION", "Calibration", "CalibrationRequest", "calibrate"]

SCHEMA_VERSION = 1
QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)

# False matches of more pairs than this need no bootstrap, which would take minutes.
MOST_BOOTSTRAPPED = 1_000_000


@dataclass(frozen=True)
class CalibrationRequest:
    """What is to be calibrated.

    Attributes
    ----------
    metric : {"cosine", "l2"}
        How embeddings are compared.
    targets : tuple of Target
        Operating points.
    gallery_size : int, optional
        Persons of the gallery that FPIR targets are meant for.
    confidence : float
        Of all intervals.
    extrapolate : bool
        Whether to follow the tail to false match rates that the comparisons do not support.
    cut : float, optional
        From which score on two labels are one person; chosen by rule if not given.
    bootstrap : int
        Replicates.
    seed : int
        Of the bootstrap.
    """

    metric: Metric
    targets: tuple[Target, ...]
    gallery_size: int | None = None
    confidence: float = 0.95
    extrapolate: bool = False
    cut: float | None = None
    bootstrap: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Calibration:
    """The content of ``calibration.json``, and the links that it counts.

    Attributes
    ----------
    entry : dict
        Plain JSON values.
    links : dict
        Columns ``first``, ``second`` (labels of persons), ``score``, ``component``, ``first_removed`` and
        ``second_removed``: the pairs of persons that are taken for one, best score first.
    """

    entry: dict[str, Any]
    links: dict[str, list[Any]]

    @property
    def calibrated(self) -> bool:
        """Whether any target has a threshold."""
        sized, fit = self.entry["gallery_size"], self.entry["extrapolation"]
        found = [*self.entry["operating_points"], *(sized or [])]
        found += [] if fit is None else fit.get("thresholds", [])
        return any(one["threshold"] is not None for one in found)


def calibrate(
    data: CalibrationSet,
    request: CalibrationRequest,
    tell: Tell,
    *,
    threads: int | None = None,
    device: str | None = None,
) -> Calibration:
    """Compare a gallery with itself, and measure everything that it tells of thresholds.

    Parameters
    ----------
    data : CalibrationSet
        The gallery.
    request : CalibrationRequest
        What is asked for.
    tell : callable
        Is told of the progress.
    threads, device
        As of `idsim.search`.

    Raises
    ------
    ValueError
        There is only one person; or the cut is looser than the listed pairs.
    """
    comparison = compare_with_itself(
        data,
        request.metric,
        request.targets,
        tell,
        wanted=_wanted(data, request),
        threads=threads,
        device=device,
    )
    work = _Statistics(data, request, comparison)
    steps = work.steps()
    entry: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "input": _input_entry(data)}
    for number, (name, step) in enumerate(steps):
        tell(number, len(steps), name.replace("_", " "))
        entry[name] = step()
    tell(len(steps), len(steps), "statistics")
    entry["statistics"] = {
        "confidence": request.confidence,
        "bootstrap_replicates": request.bootstrap,
        "seed": request.seed,
    }
    entry["software"] = {
        "idsim": build_info()["version"],
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    return Calibration({name: rounded(value) for name, value in entry.items()}, work.links())


def _wanted(data: CalibrationSet, request: CalibrationRequest) -> int:
    """Return how many of the best pairs the tail needs, beside those of the targets."""
    images = np.bincount(data.persons).astype(np.int64)
    if request.gallery_size is None:
        return 0
    # With independent hits FPIR = 1 - (1 - FMR) ** persons; hits that crowd on few searches need more pairs.
    rates = [target.value for target in request.targets if target.kind == "fpir" and target.value < 1]
    needed = [-np.log1p(-rate) / request.gallery_size for rate in rates]
    return int(min(1.0, 8 * max(needed, default=0.0)) * pairs_of(images))


def _input_entry(data: CalibrationSet) -> dict[str, Any]:
    faces = data.faces
    return {
        "rows": len(faces.items),
        "embeddings": len(faces.rows),
        "dim": int(faces.vectors.shape[1]),
        "persons": len(data.names),
        "labels": data.rule,
        "sha256": data.sha256,
    }


class _Statistics:
    """The parts of a calibration, in the order of the file."""

    def __init__(self, data: CalibrationSet, request: CalibrationRequest, comparison: SelfComparison) -> None:
        self.data, self.request, self.comparison = data, request, comparison
        self.persons, self.compared = data.persons, comparison.compared
        self.images = np.bincount(self.persons).astype(np.int64)
        self.tail = TailImpostors(self.compared, self.persons)
        self.calibrator = Calibrator(self.tail, request.confidence)
        self.mated, self.mated_persons = mated_scores(data.faces, request.metric)
        self.cut = choose_cut(
            self.compared, self.persons, self.mated, len(np.unique(self.mated_persons)), request.cut
        )
        self.contamination: Contamination | None = None
        if self.cut.score is not None:
            self.contamination = find_contamination(
                self.compared, self.persons, self.cut, request.confidence, self.mated
            )

    def steps(self) -> list[tuple[str, Any]]:
        return [
            ("calibration", self.basis),
            ("operating_points", self.points),
            ("gallery_size", self.sized),
            ("contamination", self.contaminated),
            ("extrapolation", self.extrapolated),
            ("best_match_growth", self.growth),
            ("separation", self.separation),
            ("impostor_quantiles", self.quantiles),
        ]

    def basis(self) -> dict[str, Any]:
        persons = len(self.images)
        return {
            "metric": self.request.metric,
            "persons": persons,
            "images": len(self.persons),
            "impostor_comparisons": self.calibrator.comparisons,
            "mated_comparisons": len(self.mated),
            "listed_pairs": len(self.compared.tail.rows),
            "listed_from": self.compared.level,
            "least_fmr_supported": rule_of_three(self.calibrator.person_pairs),
            "least_fpir_supported": rule_of_three(persons),
            "contamination_floor_per_percent": 0.01 / len(self.persons),
        }

    def points(self) -> list[dict[str, Any]]:
        return [self._point(self.calibrator.point(target)) for target in self.request.targets]

    def _point(self, point: OperatingPoint) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "name": point.target.name,
            "kind": point.target.kind,
            "target": point.target.value,
            "threshold": point.threshold,
            "refused": point.refusal or None,
            "persons_searched": point.gallery_persons,
        }
        for name, rate in (("fmr", point.fmr), ("fpir", point.fpir)):
            entry[name] = (
                None
                if rate is None
                else {
                    "rate": rate.rate,
                    "errors": rate.errors,
                    "trials": rate.trials,
                    "units": rate.units,
                    **rate.interval._asdict(),
                    "flags": rate.flags,
                }
            )
        entry["fnmr"] = None if point.threshold is None else self._misses(point.threshold)
        entry["fmr_bootstrap"] = None if point.threshold is None else self._bootstrap(point.threshold)
        return entry

    def _misses(self, threshold: float) -> dict[str, Any] | None:
        if not len(self.mated):
            return None
        missed = ~reaches(self.mated, threshold, self.request.metric)
        interval = miss_interval(missed, self.mated_persons, self.request.confidence)
        return {
            "rate": float(missed.mean()),
            "missed": int(missed.sum()),
            "pairs": len(missed),
            "persons": len(np.unique(self.mated_persons)),
            **interval._asdict(),
        }

    def _bootstrap(self, threshold: float) -> dict[str, Any] | None:
        rows, columns, _ = self.tail.pairs(threshold)
        if len(rows) > MOST_BOOTSTRAPPED:
            return None
        result = bootstrap_false_match_rate(
            self.persons[rows],
            self.persons[columns],
            self.images,
            np.random.default_rng(self.request.seed),
            self.request.confidence,
            self.request.bootstrap,
        )
        return bootstrap_entry(result)

    def sized(self) -> list[dict[str, Any]] | None:
        size = self.request.gallery_size
        if size is None:
            return None
        targets = [target.value for target in self.request.targets if target.kind == "fpir"]
        return [
            sized_entry(point) for point in sized_points(self.tail, targets, size, self.request.confidence)
        ]

    def contaminated(self) -> dict[str, Any]:
        found = self.contamination
        if found is None:
            return contamination_entry(None, self.cut)
        targets = [target for target in self.request.targets if target.kind != "threshold"]
        changes = threshold_sensitivity(self.compared, self.persons, found, targets, self.request.confidence)
        return contamination_entry(found, self.cut, changes)

    def extrapolated(self) -> dict[str, Any] | None:
        if not self.request.extrapolate:
            return None
        tail, persons, keep = self.compared.tail, self.persons, None
        if self.contamination is not None:
            keep = self.contamination.keep
            tail = TailImpostors(self.compared, persons, keep).listed
            persons = np.unique(persons[keep], return_inverse=True)[1].reshape(-1)
        comparisons = pairs_of(np.bincount(persons).astype(np.int64))
        fit = fit_tail(
            tail,
            persons,
            self.request.metric,
            comparisons,
            np.random.default_rng(self.request.seed),
            self.request.confidence,
            replicates=self.request.bootstrap,
        )
        targets = [target.value for target in self.request.targets if target.kind == "fmr"]
        thresholds = () if isinstance(fit, str) else extrapolate(fit, targets)
        return tail_entry(fit, thresholds) | {"without_linked_persons": keep is not None}

    def growth(self) -> dict[str, Any]:
        scores, ids = self.compared.scores[:, 0], self.compared.ids[:, 0]
        return growth_entry(
            fit_gumbel(scores, ids, self.persons, self.request.metric, self.request.confidence)
        )

    def separation(self) -> dict[str, Any]:
        rates = fmr_grid(rule_of_three(self.calibrator.person_pairs))
        impostors = self.comparison.impostors
        found = separate(self.mated, self.mated_persons, impostors, rates, self.request.confidence)
        return separation_entry(found) | {"sampled_impostors": self.comparison.sampled or None}

    def quantiles(self) -> list[dict[str, Any]]:
        found = impostor_quantiles(self.comparison.impostors, QUANTILES)
        return [{"share": share, **one._asdict()} for share, one in zip(QUANTILES, found, strict=True)]

    def links(self) -> dict[str, list[Any]]:
        """Return the pairs of persons that are taken for one, as columns; best score first."""
        names: dict[str, list[Any]] = {
            name: [] for name in ("first", "second", "score", "component", "first_removed", "second_removed")
        }
        found = self.contamination
        if found is None:
            return names
        links = found.links.at(np.argsort(-found.links.best, kind="stable"))
        removed: NDArray[np.bool_] = np.zeros(found.persons, np.bool_)
        removed[found.removed] = True
        names["first"] = [self.data.names[code] for code in links.first.tolist()]
        names["second"] = [self.data.names[code] for code in links.second.tolist()]
        names["score"] = (links.best * (-1.0 if found.metric == "l2" else 1.0)).tolist()
        names["component"] = found.component[links.first].tolist()
        names["first_removed"] = removed[links.first].tolist()
        names["second_removed"] = removed[links.second].tolist()
        return names
