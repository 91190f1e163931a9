"""A finished run to the list of its synthetic images that stay, and the table of those that go."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.diagnostics.inputs import without_shared
from idsim.audit.faces import encode_labels
from idsim.audit.folder import PROVENANCE
from idsim.audit.inputs import ImageInput
from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.pairs.tails import UnsupportedError
from idsim.audit.parts import PicturePart
from idsim.audit.rates.excess import Gallery, Resampling
from idsim.audit.records import known_number, pseudonym, pseudonyms
from idsim.audit.remedies.filtering import KEPT, NO_FACE, REACHES, REASONS, Decision, Rule, View, decide
from idsim.audit.remedies.filtering_rates import change_entry, counts_entry, limits, measure_change
from idsim.audit.shards import replace_file
from idsim.audit.summary import rounded
from idsim.audit.tables import write_csv, write_json
from idsim.files import make_new_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.comparing import Comparisons
    from idsim.audit.reopening import OpenRun
    from idsim.audit.work import Work
    from idsim.results import Pairs

__all__ = ["FILTERED", "filter_run"]

SCHEMA_VERSION = 1
FILTERED = "filter.json"
PICTURES = ("", "copy", "symlink")


def filter_run(
    run: OpenRun, rule: Rule, output: Path, *, by: Sequence[str] = (), pictures: str = ""
) -> dict[str, Any]:
    """Write which synthetic images of a run stay and which go, and return the content of ``filter.json``.

    Nothing of the run or its inputs is changed or deleted.

    Parameters
    ----------
    run : OpenRun
        The run.
    rule : Rule
        What is left out.
    output : Path
        A new folder for ``kept.txt``, ``kept.csv``, ``dropped.csv`` and ``filter.json``; of a series a folder in it
        for each set.
    by : sequence of str
        Names of the matchers that decide; empty: all. The others check what is kept.
    pictures : {"", "copy", "symlink"}
        Also put the kept pictures, if they lie in a folder, into ``images``.

    Raises
    ------
    ValueError
        The run lacks the operating point, a matcher, or a threshold of one that decides; matchers name the
        images differently; or nothing would be left.
    FileExistsError
        `output` exists.
    """
    if pictures not in PICTURES:
        raise ValueError(f"pictures must be 'copy' or 'symlink', not {pictures!r}")
    if output.exists():
        raise FileExistsError(f"{output} exists already, and nothing is ever overwritten")
    deciding = _deciding(run, by)
    rule.least(len(deciding))
    point = rule.point or str(run.summary_of(run.works[0])["operating_points"][0]["name"])
    variants = list(run.works[0].series)
    sets = [_Set(run, variant, point, rule, deciding) for variant in variants]
    folders = [output / one.variant if len(sets) > 1 else output for one in sets]
    if pictures:
        for one in sets:
            one.require_folder()
    output.parent.mkdir(parents=True, exist_ok=True)
    make_new_folder(output)
    for one, folder in zip(sets, folders, strict=True):
        folder.mkdir(exist_ok=True)
        one.write(folder, pictures)
    content = {
        "schema_version": SCHEMA_VERSION,
        "run": run.config.run.name,
        "rule": asdict(rule) | {"point": point, "deciding": deciding, "least": rule.least(len(deciding))},
        "sets": [one.entry() for one in sets],
    }
    content = {name: rounded(value) for name, value in content.items()}
    write_json(output / FILTERED, content)
    return content


def _name(work: Work) -> str:
    return work.label or str(work.matcher["name"])


def _deciding(run: OpenRun, by: Sequence[str]) -> list[str]:
    known = [_name(work) for work in run.works]
    for name in by:
        if name not in known:
            raise ValueError(f"{run.folder} has no matcher {name!r}: it has {', '.join(known)}")
    return [name for name in known if not by or name in by]


# --- what matchers see ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Point:
    threshold: float | None
    refusal: str


def _point(summary: dict[str, Any], name: str) -> _Point:
    points = {str(entry["name"]): entry for entry in summary["operating_points"]}
    if name not in points:
        raise ValueError(f"the run has no operating point {name!r}: it has {', '.join(points)}")
    entry = points[name]
    threshold = entry["threshold"]
    if threshold is not None and entry["kind"] != "threshold" and (entry["fmr"] or entry["fpir"]):
        # Calibrated thresholds are float32 numbers, of which the summary holds nine digits: enough to tell which.
        threshold = float(np.float32(threshold))
    return _Point(threshold, str(entry["refused"] or "it has no threshold"))


def _view(
    name: str, work: Work, variant: str, threshold: float, comparisons: Comparisons, repeats: bool
) -> View:
    synthetic = work.series[variant].faces()
    training = work.real["training"].faces()
    holdout, _ = without_shared(work.config, training, work.real["holdout"].faces())

    def gallery(real: FaceSet) -> Gallery:
        found = comparisons.reaching(synthetic, real, threshold)
        if found is None:
            raise ValueError(f"{name}: {synthetic.name} and {real.name} were not compared")
        return Gallery(real.codes()[0], synthetic.rows[np.asarray(found.rows)], np.asarray(found.columns))

    scores = np.full(len(synthetic.items), np.nan)
    closeness = np.full(len(synthetic.items), np.nan)
    match = np.full(len(synthetic.items), -1, np.int64)
    if len(synthetic.rows):
        best, ids = comparisons.best(synthetic, training, 1)
        scores[synthetic.rows] = best[:, 0]
        closeness[synthetic.rows] = better_is_higher(best[:, 0], comparisons.metric)
        match[synthetic.rows] = np.where(ids[:, 0] >= 0, training.codes()[0][ids[:, 0]], -1)
    try:
        return View(
            matcher=name,
            threshold=threshold,
            training=gallery(training),
            holdout=gallery(holdout),
            scores=scores,
            closeness=closeness,
            match=match,
            people=training.codes()[1],
            repeats=_repeats(name, synthetic, threshold, comparisons) if repeats else None,
        )
    except UnsupportedError as error:
        raise ValueError(f"{name}: {error}") from error


def _repeats(
    name: str, synthetic: FaceSet, threshold: float, comparisons: Comparisons
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    impostors = comparisons.impostors(synthetic, synthetic.codes()[0], None)
    if impostors is None:
        raise ValueError(f"{name}: the synthetic set was not compared with itself, which repetitions need")
    pairs: Pairs = impostors.pairs(threshold)
    return synthetic.rows[np.asarray(pairs.rows)], synthetic.rows[np.asarray(pairs.columns)]


# --- one synthetic set ----------------------------------------------------------------------------


class _Set:
    """One synthetic set of a run, and what becomes of its items."""

    def __init__(self, run: OpenRun, variant: str, point: str, rule: Rule, deciding: list[str]) -> None:
        self.run, self.variant = run, variant
        self.part = run.works[0].series[variant]
        self.faces = self.part.faces()
        self.clusters = encode_labels(self.faces.labels)[0]
        self.views: list[View] = []
        self.unknown: list[str] = []
        for work in run.works:
            name = _name(work)
            self._require_same(name, work.series[variant].faces())
            found = _point(run.summary_of(work), point)
            if found.threshold is None:
                if name in deciding:
                    raise ValueError(f"{name} has no threshold for {point}: {found.refusal}")
                self.unknown.append(name)
                continue
            repeats = rule.distinct and name in deciding
            comparisons = run.comparisons(work, variant)
            self.views.append(_view(name, work, variant, found.threshold, comparisons, repeats))
        self.deciding = [view for view in self.views if view.matcher in deciding]
        self.decision: Decision = decide(self.deciding, self.clusters, rule)
        if not self.decision.kept.any():
            raise ValueError(
                f"nothing is left of {variant or 'the synthetic set'}: the rule drops every image"
            )
        statistics = run.config.statistics
        resampling = Resampling(
            statistics.confidence,
            statistics.bootstrap,
            statistics.permutations,
            statistics.draws,
            run.config.run.seed,
        )
        kept = self.decision.kept
        self.changes = [
            measure_change(view, view.matcher in deciding, self.clusters, kept, resampling)
            for view in self.views
        ]

    def _require_same(self, name: str, faces: FaceSet) -> None:
        if (faces.items, faces.labels) != (self.faces.items, self.faces.labels):
            raise ValueError(
                f"{name} names the synthetic images otherwise than {_name(self.run.works[0])}: they cannot be "
                "filtered together"
            )

    def entry(self) -> dict[str, Any]:
        """Return plain JSON values: numbers, and no name of any image."""
        sentences = limits(self.changes)
        sentences += [
            f"{name} has no threshold for this operating point, and says nothing." for name in self.unknown
        ]
        return {
            "name": self.variant or "synthetic",
            **counts_entry(self.decision, self.clusters),
            "matchers": [change_entry(change) for change in self.changes],
            "limits": sentences,
        }

    # --- files ------------------------------------------------------------------------------------

    def require_folder(self) -> Path:
        """Return the folder that the pictures lie in.

        Raises
        ------
        ValueError
            They lie in none.
        """
        source = self.part.plan.source if isinstance(self.part, PicturePart) else None
        if not isinstance(source, ImageInput) or source.source.kind != "folder":
            raise ValueError("the synthetic set is no folder of pictures: there is nothing to copy or link")
        return source.source.path

    def write(self, folder: Path, pictures: str) -> None:
        """Write the lists, and the pictures if they are wanted."""
        items, kept = self.faces.items, np.flatnonzero(self.decision.kept).tolist()
        key = hashlib.sha256((self.run.folder / PROVENANCE).read_bytes()).digest()
        names = pseudonyms(key, "synthetic", items)
        replace_file(folder / "kept.txt", "".join(f"{items[row]}\n" for row in kept).encode())
        columns: dict[str, list[Any]] = {
            "image": [items[row] for row in kept],
            "pseudonym": [names[items[row]] for row in kept],
            "label": [self.faces.labels[row] for row in kept],
        }
        try:
            root = self.require_folder()
        except ValueError:
            pass
        else:  # as `idsim scan` and `idsim embed` read lists of pictures
            start = os.path.relpath(root.resolve(), folder.resolve())
            columns = {"path": [f"./{start}/{items[row]}" for row in kept], **columns}
        write_csv(folder / "kept.csv", columns)
        write_csv(folder / "dropped.csv", self._dropped(key, names))
        if pictures:
            _place(self.require_folder(), folder / "images", [items[row] for row in kept], pictures)

    def _dropped(self, key: bytes, names: dict[str, str]) -> dict[str, list[Any]]:
        """Return a row per dropped image, and per matcher where it was dropped because it reaches somebody."""
        titles = ("image", "pseudonym", "label", "reason", "matcher", "score", "match", "match_pseudonym")
        columns: dict[str, list[Any]] = {title: [] for title in titles}
        items, reasons = self.faces.items, self.decision.reasons
        reaching = [set(np.unique(view.training.images).tolist()) for view in self.deciding]
        for row in np.flatnonzero(reasons != KEPT).tolist():
            own = (items[row], names[items[row]], self.faces.labels[row], REASONS[int(reasons[row])])
            rests: list[tuple[Any, ...]] = []
            if reasons[row] == REACHES:
                for view, reached in zip(self.deciding, reaching, strict=True):
                    if row in reached:
                        person = view.people[int(view.match[row])]
                        called = pseudonym(key, "training person", person)
                        rests.append((view.matcher, known_number(view.scores[row]), person, called))
            elif reasons[row] == NO_FACE:
                rests.append(("", None, "", ""))
            else:
                other = items[int(self.decision.because[row])]
                rests.append(("", None, other, names[other]))
            for rest in rests:
                for column, value in zip(columns.values(), (*own, *rest), strict=True):
                    column.append(value)
        return columns


def _place(root: Path, folder: Path, items: list[str], how: str) -> None:
    """Copy pictures, or link to them, under their names."""
    for item in items:
        place = folder / item
        place.parent.mkdir(parents=True, exist_ok=True)
        if how == "copy":
            shutil.copyfile(root / item, place)
        else:
            place.symlink_to((root / item).resolve())
