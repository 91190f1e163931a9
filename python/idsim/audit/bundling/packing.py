"""A finished run packed into a bundle, which is written only if it gives the run's own numbers here and now."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.audit.bundling import layout
from idsim.audit.bundling.answers import AskedComparisons, Noted
from idsim.audit.bundling.archive import json_bytes, write_archive
from idsim.audit.bundling.arrays import array_bytes
from idsim.audit.bundling.card import card
from idsim.audit.bundling.content import compared_members, faces_members, table_members
from idsim.audit.bundling.final_files import changed, final_files, summaries_in
from idsim.audit.bundling.names import Names, PseudonymsOf, hidden_hashes, plain_config
from idsim.audit.bundling.pictures import picture_members
from idsim.audit.bundling.reading import bundled_scan
from idsim.audit.bundling.taken import Taken
from idsim.audit.configuration.toml_text import to_toml
from idsim.audit.execution import Unfinished
from idsim.audit.finishing import Known, copy_scores, finish
from idsim.audit.folder import PROVENANCE, SUMMARY
from idsim.audit.pairs.asking import comparisons_of
from idsim.audit.pairs.pair_names import NEEDED
from idsim.audit.parts import GivenPart
from idsim.audit.persons.thumbnails import COPIES
from idsim.audit.reopening import open_run
from idsim.audit.run_plan import PLAN, read_status
from idsim.audit.scores.score_comparisons import ScoreComparisons
from idsim.audit.scores.score_inputs import reading_of, sides_of
from idsim.audit.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from idsim.audit.bundling.archive import Content
    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.pairs.comparing import Comparisons
    from idsim.audit.parts import Part
    from idsim.audit.reopening import OpenRun

    Tell = Callable[[str, int, int], None]

__all__ = ["Packed", "pack"]

COPIED_PAIRS = NEEDED  # comparisons of thumbnails


@dataclass(frozen=True)
class Packed:
    """A bundle that was written.

    Attributes
    ----------
    path : Path
        The file.
    bytes : int
        Its size.
    sha256 : str
        Its hash.
    members : int
        Files in it, the manifest included.
    holds : dict
        Whether ``names``, ``embeddings`` and ``images`` are in it.
    """

    path: Path
    bytes: int
    sha256: str
    members: int
    holds: dict[str, bool]


def pack(
    run: Path,
    file: Path,
    *,
    names: bool = False,
    embeddings: bool = False,
    images: bool = False,
    tell: Tell = lambda *_: None,
) -> Packed:
    """Pack a finished run into a bundle.

    Parameters
    ----------
    run : Path
        The run folder. It is opened from the file that described it, with its inputs.
    file : Path
        The bundle; nothing may stand there.
    names : bool
        Keep the names of items and persons, and the key of the pseudonyms.
    embeddings, images : bool
        Put embeddings or the files of pictures in: both are biometric data.
    tell : callable
        Told how far it is.

    Raises
    ------
    Unfinished
        The run is not finished, or shards are missing.
    ValueError
        It is no run, its inputs have changed, or its numbers do not come out again; what differs is named.
    FileExistsError
        There is a file of that name.
    """
    if file.exists():
        raise FileExistsError(f"{file} exists already, and nothing is ever overwritten")
    _require_finished(run)
    holds = {"names": names, "embeddings": embeddings, "images": images}
    with open_run(run) as opened:
        packing = _Packing(opened, holds, tell)
        members = packing.members()
        sha256 = write_archive(file, members)
    return Packed(file, file.stat().st_size, sha256, len(members) + 1, holds)


def _require_finished(run: Path) -> None:
    if (run / SUMMARY).exists() or not (run / PLAN).exists():
        return
    _, stages = read_status(run)
    total, done = sum(len(stage.files) for stage in stages), sum(stage.done for stage in stages)
    raise Unfinished(f"{run} is not finished: {total - done} of {total} shards are left")


class _Packing:
    """A run on its way into a bundle.

    Parameters
    ----------
    run : OpenRun
        The run.
    holds : dict
        What goes in.
    tell : callable
        Told how far it is.
    """

    def __init__(self, run: OpenRun, holds: dict[str, bool], tell: Tell) -> None:
        self.run, self.holds, self.tell = run, holds, tell
        self.provenance = (run.folder / PROVENANCE).read_bytes()
        key = hashlib.sha256(self.provenance).digest()
        self.names = _names_of(run, holds["names"])
        self.pseudonyms = PseudonymsOf(key, self.names)
        self.config_text = to_toml(_bundled_config(run.config, holds["names"]))
        self.noted: dict[tuple[str, str], Noted] = {}

    def members(self) -> dict[str, Content]:
        """Return everything in the bundle but the manifest, after the run's numbers came out again.

        Raises
        ------
        ValueError
            They did not.
        """
        config = bundled_scan(self.config_text)
        works = [self._work(work, alone) for work, alone in self._alone(config)]
        copies = None if self.run.copies is None else self._work(self.run.copies, config)
        results = self._results(config, works)
        every = works if copies is None else [*works, copies]
        members: dict[str, Content] = {layout.CONFIG: self.config_text.encode()}
        matchers = []
        for number, work in enumerate(every):
            members |= self._sets(number, work, self.holds["embeddings"] and work is not copies)
            entry, more = self._scores(number, work)
            members |= more
            matchers.append(entry)
        if self.holds["images"]:
            members |= picture_members(self.run.works)
        members |= self._named()
        members |= {f"{layout.RESULTS}/{name}": data for name, data in results.items()}
        about = self._about(matchers)
        summary = json.loads(results[SUMMARY])
        members[layout.DESCRIPTION] = json_bytes(about)
        members[layout.CARD] = card(about, summary, [*members, layout.CARD]).encode()
        return members

    def _alone(self, config: ScanConfig) -> Iterator[tuple[Work, ScanConfig]]:
        alone = config.alone()
        return ((work, alone[work.label]) for work in self.run.works)

    def _about(self, matchers: list[dict[str, Any]]) -> dict[str, Any]:
        provenance = json.loads(self.provenance)
        inputs = {
            label: entry["inputs"] for label, entry in provenance.get("matchers", {"": provenance}).items()
        }
        return {
            "run": self.run.config.run.name,
            "seed": self.run.config.run.seed,
            "holds": self.holds,
            "names": len(self.names.known),
            "thumbnails": self.run.copies is not None,
            "software": provenance["software"],
            "inputs": inputs if self.holds["names"] else hidden_hashes(inputs),
            "matchers": matchers,
        }

    # --- sets -------------------------------------------------------------------------------------

    def _work(self, work: Work, config: ScanConfig) -> Work:
        """Return the work of a matcher with the names and the configuration of the bundle."""

        def named(part: Part) -> Part:
            return GivenPart(self.names.faces(part.faces()), part.identity)

        real = {name: named(part) for name, part in work.real.items()}
        series = {variant: named(part) for variant, part in work.series.items()}
        skipped = {
            name: [(self.names.of(item), self.names.reason(reason)) for item, reason in left]
            for name, left in work.skipped.items()
        }
        comparisons: Comparisons | None = work.comparisons
        if isinstance(comparisons, ScoreComparisons) and config.scores is not None:
            faces = {part.name: part.faces() for part in (*real.values(), *series.values())}
            comparisons = ScoreComparisons(comparisons.tables, sides_of(faces), reading_of(config.scores))
        return Work(work.label, config, work.matcher, real, series, work.folder, skipped, comparisons)

    def _sets(self, number: int, work: Work, embeddings: bool) -> dict[str, Content]:
        members: dict[str, Content] = {}
        for name, part in work.real.items():
            folder = layout.set_folder(number, name)
            members |= faces_members(folder, part.faces(), self.names, embeddings)
        for variant, part in enumerate(work.series.values()):
            folder = layout.set_folder(number, "synthetic", variant)
            members |= faces_members(folder, part.faces(), self.names, embeddings)
        return members

    # --- results ----------------------------------------------------------------------------------

    def _results(self, config: ScanConfig, works: list[Work]) -> dict[str, bytes]:
        """Return the final files, computed again and noting what is asked of embeddings meanwhile."""

        def compare(work: Work, variant: str) -> Comparisons:
            if work.comparisons is not None:
                return work.comparisons
            noted = self.noted.setdefault((work.label, variant), Noted())
            pairing = self.run.pairings[work.label]
            return comparisons_of(work, pairing, variant, AskedComparisons(pairing.metric, noted))

        known = Known(
            compare,
            lambda variant: copy_scores(self.run.pairings.get(COPIES), variant),
            self.pseudonyms.key,
        )
        before = summaries_in(self.run.folder)
        with tempfile.TemporaryDirectory(prefix="idsim-bundle-") as place:
            folder = Path(place)
            parsed = {name: json.loads(data) for name, data in before.items()}
            finish(config, folder, works, known, self.tell, Taken(folder, parsed, self.holds["names"]))
            wrong = changed(before, summaries_in(folder))
            if wrong:
                raise ValueError(f"{self.run.folder}: computed again, {wrong[0]}. Nothing was packed")
            return final_files(folder, self.pseudonyms.key)

    # --- scores -----------------------------------------------------------------------------------

    def _scores(self, number: int, work: Work) -> tuple[dict[str, Any], dict[str, Content]]:
        """Return what is said of a matcher, and the members with all scores of it."""
        entry: dict[str, Any] = {
            "label": work.label,
            "description": work.matcher,
            "real": list(work.real),
            "synthetic": list(work.series),
            "skipped": {
                name: [[self.names.rank[self.names.real(item)], reason] for item, reason in left]
                for name, left in work.skipped.items()
            },
        }
        members: dict[str, Content] = {}
        if isinstance(work.comparisons, ScoreComparisons) and work.config.scores is not None:
            entry["scores"] = {}
            for key, sets in work.config.scores.given().items():
                table = work.comparisons.tables[sets]
                members |= table_members(layout.scores_folder(number, key), table)
                entry["scores"][key] = repr(float(table.level))
            return entry, members
        entry["compared"] = []
        for pair, variant in _comparisons(work, work.label == COPIES):
            found = self.run.pairings[work.label].compared(pair, list(work.series)[variant or 0])
            if found is None:
                continue
            members |= compared_members(layout.compared_folder(number, pair, variant), found)
            level = repr(float(found.level))
            entry["compared"].append({"pair": pair, "synthetic": variant, "level": level})
        entry["answers"], more = self._answers(number, work)
        return entry, members | more

    def _answers(self, number: int, work: Work) -> tuple[list[dict[str, Any]], dict[str, Content]]:
        entries: list[dict[str, Any]] = []
        members: dict[str, Content] = {}
        for variant in dict.fromkeys(("", *work.series)):
            noted = self.noted.get((work.label, variant), Noted())
            for question, answer in noted.answers.items():
                for place, array in enumerate(answer.arrays):
                    members[layout.answer_member(number, len(entries), place)] = array_bytes(array)
                about = {"refusal": answer.refusal, "text": answer.text} if answer.refusal else {}
                entries.append({"synthetic": variant, "question": list(question), **about})
        return entries, members

    def _named(self) -> dict[str, Content]:
        if self.holds["names"]:
            return {
                layout.NAMES: json_bytes({"names": self.names.known}),
                layout.PROVENANCE: self.provenance,
            }
        noted = self.pseudonyms.noted
        ranks = {
            kind: sorted((self.names.rank[self.names.real(name)], shown) for name, shown in known.items())
            for kind, known in sorted(noted.items())
        }
        plain = {
            kind: {"names": [rank for rank, _ in known], "pseudonyms": [shown for _, shown in known]}
            for kind, known in ranks.items()
        }
        return {layout.PSEUDONYMS: json_bytes(plain)}


def _bundled_config(config: ScanConfig, named: bool) -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(json.dumps(config.resolved()))
    return tables if named else plain_config(tables)


def _names_of(run: OpenRun, shown: bool) -> Names:
    names: list[str] = []
    hashes: list[str] = []
    works = run.works if run.copies is None else [*run.works, run.copies]
    for work in works:
        for part in (*work.real.values(), *work.series.values()):
            faces = part.faces()
            names += faces.items
            names += faces.labels
            hashes += [str(record["sha256"]) for record in faces.records if record.get("sha256")]
        names += [item for left in work.skipped.values() for item, _ in left]
    return Names(names, hashes, shown)


def _comparisons(work: Work, copies: bool) -> Iterator[tuple[str, int | None]]:
    """Yield every comparison of a matcher, with the number of the synthetic set that takes part."""
    for pair in COPIED_PAIRS if copies else work.pairs():
        if "S" not in pair:
            yield pair, None
        else:
            yield from ((pair, variant) for variant in range(len(work.series)))
