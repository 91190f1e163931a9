"""A run computed again from a bundle, and compared with what the bundle says."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.bundling.answers import AskedComparisons
from idsim.audit.bundling.answers import Known as KnownAnswers
from idsim.audit.bundling.archive import BundleArchive
from idsim.audit.bundling.final_files import changed, final_files
from idsim.audit.bundling.pictures import embed_again
from idsim.audit.bundling.reading import read_run
from idsim.audit.bundling.taken import Taken
from idsim.audit.configuration.matcher_config import matcher_of
from idsim.audit.execution import Execution
from idsim.audit.faces import AbsentVectors, EmbeddingsNeededError
from idsim.audit.finishing import Known, finish
from idsim.audit.folder import difference
from idsim.audit.pairs.asking import comparisons_of
from idsim.audit.pairs.pair_names import sets_of
from idsim.audit.pairs.stored import StoredComparisons
from idsim.audit.parts import GivenPart
from idsim.audit.persons.thumbnails import CopyScores
from idsim.audit.shards import replace_file
from idsim.audit.tables import write_json
from idsim.audit.times import Times
from idsim.audit.work import Job
from idsim.errors import BundleError
from idsim.files import make_new_folder
from idsim.sources.decoding import DecoderPool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from idsim.audit.bundling.reading import BundledRun
    from idsim.audit.bundling.reading_matchers import BundledMatcher
    from idsim.audit.configuration.matcher_config import MatcherConfig
    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.compared import Compared
    from idsim.audit.pairs.comparing import Comparisons
    from idsim.audit.pairs.pairing import Pairing
    from idsim.audit.work import Work
    from idsim.matchers.base import Matcher

    Tell = Callable[[str, int, int], None]

__all__ = ["Replication", "Stage", "replicate"]

REDONE, TAKEN = "computed again", "taken"
REPORT = "replication.json"


@dataclass(frozen=True)
class Stage:
    """What became of one stage of one matcher: ``computed again`` or ``taken``, and why."""

    matcher: str
    name: str
    how: str
    reason: str


@dataclass(frozen=True)
class Replication:
    """What a replication did and found.

    Attributes
    ----------
    stages : list of Stage
        In their order.
    taken : list of str
        Parts of summaries that could not be computed, as ``summary.json: analysis.manifold``.
    same : list of str
        Final files with the bytes that the bundle has.
    differences : list of str
        A sentence for each that is not the same.
    summary : dict
        The run's summary, as it came out.
    folder : Path or None
        Where the final files are, if they were wanted.
    """

    stages: list[Stage]
    taken: list[str]
    same: list[str]
    differences: list[str]
    summary: dict[str, Any]
    folder: Path | None

    def entry(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "result": "different" if self.differences else "the same",
            "stages": [vars(stage) for stage in self.stages],
            "taken": self.taken,
            "same": self.same,
            "differences": self.differences,
        }


def replicate(
    file: Path,
    output: Path | None = None,
    *,
    matchers: Mapping[str, str] | None = None,
    tell: Tell = lambda *_: None,
) -> Replication:
    """Compute a run again from a bundle, as far as it goes, and compare.

    Parameters
    ----------
    file : Path
        The bundle.
    output : Path, optional
        New folder for the final files and ``replication.json``.
    matchers : mapping, optional
        Name -> model file of matchers that embed the pictures in the bundle again; empty where a matcher needs none.
    tell : callable
        Told how far it is.

    Raises
    ------
    BundleError
        The file is no bundle, or is damaged; the member is named.
    ValueError
        A matcher is not one of the run, or not the one that the run used.
    FileExistsError
        There is something at `output`.
    """
    if output is not None and output.exists():
        raise FileExistsError(f"{output} exists already, and nothing is ever overwritten")
    with contextlib.closing(BundleArchive(file)) as bundle:
        bundle.check()
        run = read_run(bundle)
        with tempfile.TemporaryDirectory(prefix="idsim-replication-") as place:
            found, files = _Replicating(run, bundle, Path(place), tell).run(matchers or {})
    if output is None:
        return found
    make_new_folder(output)
    output.chmod(0o700)
    for name, data in files.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        replace_file(output / name, data)
    found = replace(found, folder=output)
    write_json(output / REPORT, found.entry())
    return found


class _Replicating:
    """A replication on its way; `place` is a folder for what is not kept."""

    def __init__(self, run: BundledRun, bundle: BundleArchive, place: Path, tell: Tell) -> None:
        self.bundled, self.bundle, self.place, self.tell = run, bundle, place, tell
        self.stages: list[Stage] = []
        self.differences: list[str] = []
        self.pairings: dict[str, Pairing] = {}

    def run(self, models: Mapping[str, str]) -> tuple[Replication, dict[str, bytes]]:
        """Return what came out, and the final files by path."""
        run = self.bundled
        matchers = self._embedded(models)
        works = [self._searched(matcher) for matcher in matchers]
        self._compare_again(matchers)
        by_label = {matcher.work.label: matcher for matcher in matchers}
        known = Known(
            lambda work, variant: self._comparisons(by_label[work.label], variant),
            self._copies,
            run.key,
        )
        folder = self.place / "run"
        folder.mkdir()
        settle = Taken(folder, run.summaries, run.about["holds"]["names"])
        try:
            summary = finish(run.config, folder, works, known, self.tell, settle)
        except EmbeddingsNeededError as error:
            raise BundleError(self.bundle.path, "matchers", str(error)) from error
        files = final_files(folder, run.key)
        self.stages.append(Stage("all", "statistics and tables", REDONE, "from the scores"))
        self.differences += changed(run.results, files)
        same = [name for name, data in files.items() if run.results.get(name) == data]
        taken = [f"{name}: {part}" for name, part in dict.fromkeys(settle.parts)]
        return Replication(self.stages, taken, same, self.differences, summary, None), files

    # --- embedding --------------------------------------------------------------------------------

    def _embedded(self, models: Mapping[str, str]) -> list[BundledMatcher]:
        """Return the matchers, those with embeddings made again whose model files are given."""
        known = {_called(matcher.work): matcher for matcher in self.bundled.matchers}
        for name in models:
            if name not in known:
                raise ValueError(f"the run has no matcher {name!r}: it has {', '.join(known)}")
        return [
            self._embed(matcher, models.get(name)) if matcher.work.config.uses_images else matcher
            for name, matcher in known.items()
        ]

    def _embed(self, matcher: BundledMatcher, model: str | None) -> BundledMatcher:
        work, holds = matcher.work, self.bundled.about["holds"]
        name = _called(work)

        def taken(reason: str) -> BundledMatcher:
            self.stages.append(Stage(name, "embedding", TAKEN, reason))
            return matcher

        if not holds["images"]:
            if model is not None:
                raise ValueError(f"a model file of {name} is given, and the bundle has no pictures to embed")
            return taken("the bundle has no pictures")
        if model is None:
            return taken(f"no model file is given: --matcher {name}=FILE")
        if work.config.synthetic.drawn:
            return taken("the synthetic set was drawn, and its pictures are not in the bundle")
        opened = _opened(work.config.matcher, model)
        wrong = difference(work.matcher, json.loads(json.dumps(opened.describe())))
        if wrong:
            raise ValueError(f"the matcher given for {name} is not the one of the run: {wrong}")
        self.stages.append(Stage(name, "embedding", REDONE, "from the pictures, by the matcher of the run"))
        with contextlib.closing(DecoderPool()) as pool:
            real = {
                title: self._made(name, part.faces(), work.config.sets[title].mirrored, opened, pool)
                for title, part in work.real.items()
            }
            series = {
                title: self._made(name, part.faces(), False, opened, pool)
                for title, part in work.series.items()
            }
        return replace(matcher, work=replace(work, real=dict(real), series=dict(series)))

    def _made(
        self, name: str, before: FaceSet, mirrored: bool, matcher: Matcher, pool: DecoderPool
    ) -> GivenPart:
        folder = self.place / "embed" / name / before.name
        folder.mkdir(parents=True)
        made = embed_again(self.bundle, before, mirrored, matcher, pool, folder, self.tell)
        if made.records != before.records:
            self.differences.append(f"{name} found other faces in {before.name} than before")
        elif not isinstance(before.vectors, AbsentVectors):
            count = int((made.vectors != before.vectors).any(axis=1).sum())
            if count:
                self.differences.append(
                    f"{count} embeddings of {before.name} by {name} are not what they were"
                )
        return GivenPart(made, f"embedded again {name} {before.name}")

    # --- searching --------------------------------------------------------------------------------

    def _searched(self, matcher: BundledMatcher) -> Work:
        """Return the work of a matcher, after its sets were compared again where their embeddings are there."""
        work = replace(matcher.work, folder=self.place / "compare" / str(matcher.number))
        name = _called(work)
        if work.comparisons is not None:
            self.stages.append(
                Stage(name, "search", TAKEN, "the matcher gives scores, and all are in the bundle")
            )
        elif any(isinstance(part.faces().vectors, AbsentVectors) for part in _parts(work)):
            self.stages.append(Stage(name, "search", TAKEN, "the bundle has no embeddings of every set"))
        else:
            self.pairings |= Execution([work], Job(), self.tell, Times()).run()
            self.stages.append(Stage(name, "search", REDONE, "from the embeddings"))
        return work

    def _compare_again(self, matchers: list[BundledMatcher]) -> None:
        """Note which comparisons that were made again are not the stored ones."""
        for matcher in matchers:
            pairing = self.pairings.get(matcher.work.label)
            if pairing is None:
                continue
            for pair, place in matcher.levels:
                variant = list(matcher.work.series)[place or 0]
                if _differ(matcher.compared(pair, variant), pairing.compared(pair, variant)):
                    self.differences.append(
                        f"the comparison {pair} by {_called(matcher.work)} is not the stored one"
                    )

    # --- answers ----------------------------------------------------------------------------------

    def _comparisons(self, matcher: BundledMatcher, variant: str) -> Comparisons:
        work = matcher.work
        if work.comparisons is not None:
            return work.comparisons
        if work.label in self.pairings:
            return comparisons_of(work, self.pairings[work.label], variant)
        names = {sets_of(pair): pair for pair, _ in matcher.levels}

        def load(rows: str, columns: str) -> Compared | None:
            pair = names.get((rows, columns))
            return None if pair is None else matcher.compared(pair, variant)

        answers = KnownAnswers(matcher.answers(variant))
        return StoredComparisons(matcher.metric, load, AskedComparisons(matcher.metric, answers))

    def _copies(self, variant: str) -> CopyScores | None:
        copies = self.bundled.copies
        if copies is None:
            return None
        found = [copies.compared(pair, variant) for pair in ("SxT", "SxH", "HxH")]
        if found[0] is None or found[1] is None or found[2] is None:
            return None
        return CopyScores(copies.sets(variant), found[0], found[1], found[2])


def _called(work: Work) -> str:
    return work.label or str(work.matcher["name"])


def _parts(work: Work) -> list[Any]:
    return [*work.real.values(), *work.series.values()]


def _differ(before: Compared | None, now: Compared | None) -> bool:
    if before is None or now is None:
        return before is not now
    stored: list[Any] = [before.scores, before.ids, *before.tail]
    made: list[Any] = [now.scores, now.ids, *now.tail]
    return before.level != now.level or not all(map(np.array_equal, stored, made))


def _opened(config: MatcherConfig, model: str) -> Matcher:
    """Open the matcher of a configuration with a model file of the user's; what it names beside is looked for there."""
    if not model:
        return matcher_of(config, Path.cwd())
    path = Path(model).expanduser().absolute()
    if config.is_dlib:
        given = replace(config, models=str(path))
    elif config.model or not (config.kind.endswith((".toml", ".onnx")) or ":" in config.kind):
        given = replace(config, model=str(path))
    else:
        given = replace(config, kind=str(path))
    return matcher_of(given, path.parent)
