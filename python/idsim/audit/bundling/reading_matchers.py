"""The sets and scores of one matcher in a bundle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.audit.bundling import layout
from idsim.audit.bundling.answers import REFUSALS, Answer
from idsim.audit.bundling.arrays import read_integers, read_scores
from idsim.audit.bundling.content import read_compared, read_faces, read_level, read_table
from idsim.audit.diagnostics.inputs import without_shared
from idsim.audit.pairs.pair_names import PAIRS, sets_of
from idsim.audit.parts import GivenPart
from idsim.audit.persons.thumbnails import COPIES
from idsim.audit.scores.score_comparisons import ScoreComparisons
from idsim.audit.scores.score_inputs import reading_of, sides_of
from idsim.audit.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from idsim.audit.bundling.answers import Question
    from idsim.audit.bundling.archive import BundleArchive
    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.compared import Compared
    from idsim.audit.parts import Part

__all__ = ["BundledMatcher", "read_matcher"]

MOST_SETS = 10_000
NAME_LENGTH = 200
COUNTS = 1 << 62


@dataclass(frozen=True)
class BundledMatcher:
    """A matcher of a bundled run.

    Attributes
    ----------
    bundle : BundleArchive
        Where it is read from.
    number : int
        Of its folder.
    work : Work
        Its sets and what they are compared by; without embeddings where the bundle has none.
    levels : dict
        ``(pair, number of the synthetic set or None) -> level`` of every stored comparison.
    questions : list of dict
        What was asked of embeddings, in order.
    """

    bundle: BundleArchive
    number: int
    work: Work
    levels: dict[tuple[str, int | None], float]
    questions: list[dict[str, Any]]

    @property
    def metric(self) -> Any:
        """How embeddings are compared."""
        return self.work.matcher["metric"]

    def sets(self, variant: str) -> dict[str, FaceSet]:
        """Return the sets that are compared, by name: persons that both real sets name are out of the holdout."""
        faces = {name: part.faces() for name, part in self.work.real.items()}
        holdout, _ = without_shared(self.work.config, faces["training"], faces["holdout"])
        chosen = variant if variant in self.work.series else next(iter(self.work.series))
        return faces | {"holdout": holdout, "synthetic": self.work.series[chosen].faces()}

    def compared(self, pair: str, variant: str) -> Compared | None:
        """Return a stored comparison; None where there is none."""
        sets = self.sets(variant)
        place = list(self.work.series).index(variant) if "S" in pair and variant in self.work.series else None
        level = self.levels.get((pair, place))
        if level is None:
            return None
        rows, columns = (len(sets[name].rows) for name in sets_of(pair))
        folder = layout.compared_folder(self.number, pair, place)
        return read_compared(self.bundle, folder, self.metric, level, rows, columns)

    def answers(self, variant: str) -> dict[Question, Answer]:
        """Return what was asked of embeddings in the course of a synthetic set, with the answers."""
        sizes = {name: len(faces.rows) for name, faces in self.sets(variant).items()}
        found: dict[Question, Answer] = {}
        for number, entry in enumerate(self.questions):
            if entry["synthetic"] != variant:
                continue
            question = tuple(entry["question"])
            if entry.get("refusal"):
                found[question] = Answer((), entry["refusal"], entry["text"])
                continue
            arrays = []
            for place, (shape, bounds) in enumerate(_expected(question, sizes)):
                member = layout.answer_member(self.number, number, place)
                arrays.append(
                    read_scores(self.bundle, member, *shape)
                    if bounds is None
                    else read_integers(self.bundle, member, *shape, low=bounds[0], high=bounds[1])
                )
            found[question] = Answer(tuple(arrays))
        return found


def _expected(
    question: Question, sizes: dict[str, int]
) -> list[tuple[tuple[int | None, ...], tuple[int, int] | None]]:
    """Return shape and bounds of every array of an answer; scores have no bounds."""
    kind, *rest = question
    sized = [sizes.get(name, 0) for name in (*rest, "")]
    other = sized[1] or sized[0]  # of impostors: the set that is searched, or the set itself
    any_number: tuple[int | None, ...] = (None,)
    arrays: dict[str, Any] = {
        "best": [((sized[0], None), None), ((sized[0], None), (-1, sized[1]))],
        "reaching": [(any_number, (0, sized[0])), (any_number, (0, sized[1])), (any_number, None)],
        "mated": [(any_number, None), ((1,), (0, COUNTS))],
        "impostors' best": [((sized[0],), None), ((sized[0],), (-1, other))],
        "impostors' pairs": [(any_number, (0, sized[0])), (any_number, (0, sized[0])), (any_number, None)],
        "impostors' tail": [(any_number, None)],
        "further": [(any_number, None)],
    }
    expected: list[tuple[tuple[int | None, ...], tuple[int, int] | None]] = arrays[kind]
    return expected


def read_matcher(
    bundle: BundleArchive, number: int, entry: dict[str, Any], config: ScanConfig, names: Sequence[str]
) -> BundledMatcher:
    """Return a matcher of a run.

    Parameters
    ----------
    bundle : BundleArchive
        The bundle.
    number : int
        Of the matcher.
    entry : dict
        What ``run.json`` says of it.
    config : ScanConfig
        The scan with this matcher alone.
    names : sequence of str
        All names of the bundle, in their order.

    Raises
    ------
    BundleError
        A member is missing, damaged, or not what it should be.
    """
    label = entry["label"]

    def refuse(reason: str) -> NoReturn:
        bundle.refuse(layout.DESCRIPTION, f"matcher {number}: {reason}")

    description = entry.get("description")
    if not isinstance(description, dict) or not {"name", "metric", "dim", "licence"} <= set(description):
        refuse("its description lacks name, metric, dim or licence")
    real, variants = entry.get("real"), entry.get("synthetic")
    expected = [name for name in config.sets if name != "synthetic"]
    if not isinstance(real, list) or sorted(map(str, real)) != sorted(expected):
        refuse(f"its real sets are not {', '.join(expected)}")
    if not isinstance(variants, list) or not _are_folders(variants):
        refuse("its synthetic sets have no names that folders may have")
    parts: dict[str, Part] = {
        name: _part(bundle, layout.set_folder(number, name), name, names) for name in real
    }
    series: dict[str, Part] = {
        variant: _part(bundle, layout.set_folder(number, "synthetic", place), "synthetic", names)
        for place, variant in enumerate(variants)
    }
    skipped = _skipped(bundle, entry.get("skipped"), names)
    work = Work(label, config, description, parts, series, Path(), skipped)
    if config.scores is not None and label != COPIES:
        work.comparisons = _scores(bundle, number, work, entry.get("scores"))
        return BundledMatcher(bundle, number, work, {}, [])
    if description["metric"] not in ("cosine", "l2"):
        refuse(f"its metric is {description['metric']!r}")
    levels = _levels(bundle, entry.get("compared"), len(variants))
    questions = [] if label == COPIES else _questions(bundle, entry.get("answers"))
    return BundledMatcher(bundle, number, work, levels, questions)


def _are_folders(variants: list[Any]) -> bool:
    """Whether the names of synthetic sets can be folders: one without a name stands alone."""
    if variants == [""]:
        return True
    return 0 < len(set(map(str, variants))) == len(variants) <= MOST_SETS and all(
        isinstance(name, str)
        and name.isprintable()
        and 0 < len(name) <= NAME_LENGTH
        and not name.startswith(".")
        and "/" not in name
        and "\\" not in name
        for name in variants
    )


def _part(bundle: BundleArchive, folder: str, name: str, names: Sequence[str]) -> GivenPart:
    faces = read_faces(bundle, folder, name, names)
    members = [bundle.entries[member].sha256 for member in bundle.below(folder)]
    return GivenPart(faces, hashlib.sha256("".join(members).encode()).hexdigest())


def _skipped(bundle: BundleArchive, given: Any, names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    skipped: dict[str, list[tuple[str, str]]] = {}
    if not isinstance(given, dict):
        bundle.refuse(layout.DESCRIPTION, "skipped is no object")
    for name, left in given.items():
        pairs: list[Any] = left if isinstance(left, list) else [None]
        for pair in pairs:
            fits = isinstance(pair, list) and len(pair) == 2
            if not fits or type(pair[0]) is not int or not 0 <= pair[0] < len(names):
                bundle.refuse(layout.DESCRIPTION, f"skipped of {name!r} is not of this format")
            skipped.setdefault(name, []).append((names[pair[0]], str(pair[1])))
    return skipped


def _levels(bundle: BundleArchive, given: Any, variants: int) -> dict[tuple[str, int | None], float]:
    levels: dict[tuple[str, int | None], float] = {}
    entries: list[Any] = given if isinstance(given, list) else [None]
    for entry in entries:
        pair = entry.get("pair") if isinstance(entry, dict) else None
        if pair not in PAIRS:
            bundle.refuse(layout.DESCRIPTION, f"there is no comparison {pair!r}")
        variant = entry.get("synthetic")
        named = type(variant) is int and 0 <= variant < variants
        if ("S" in pair) != named or (not named and variant is not None):
            bundle.refuse(layout.DESCRIPTION, f"{pair} is of no synthetic set of the bundle")
        levels[pair, variant] = read_level(bundle, layout.DESCRIPTION, entry.get("level"))
    return levels


def _questions(bundle: BundleArchive, given: Any) -> list[dict[str, Any]]:
    kinds = ("best", "reaching", "mated", "impostors' best", "impostors' pairs", "impostors' tail", "further")
    if not isinstance(given, list):
        bundle.refuse(layout.DESCRIPTION, "answers is no list")
    for entry in given:
        question = entry.get("question") if isinstance(entry, dict) else None
        fits = (
            isinstance(question, list)
            and len(question) > 1
            and question[0] in kinds
            and all(isinstance(text, str) for text in question)
            and isinstance(entry.get("synthetic"), str)
            and entry.get("refusal", "too loose") in REFUSALS
            and isinstance(entry.get("text", ""), str)
        )
        if not fits:
            bundle.refuse(layout.DESCRIPTION, "an answer is not of this format")
    return list(given)


def _scores(bundle: BundleArchive, number: int, work: Work, given: Any) -> ScoreComparisons:
    settings = work.config.scores
    assert settings is not None, "asked of matchers that give scores"
    faces = {part.name: part.faces() for part in (*work.real.values(), *work.series.values())}
    wanted = settings.given()
    if not isinstance(given, dict) or set(given) != set(wanted):
        bundle.refuse(layout.DESCRIPTION, f"the scores must be {', '.join(wanted)}")
    tables = {}
    for key, sets in wanted.items():
        level = read_level(bundle, layout.DESCRIPTION, given[key])
        sizes = [len(faces[name].items) for name in sets]
        tables[sets] = read_table(bundle, layout.scores_folder(number, key), level, *sizes)
    return ScoreComparisons(dict(tables), sides_of(faces), reading_of(settings))
