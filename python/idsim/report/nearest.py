"""The nearest pairs of a run, over its matchers and synthetic sets, and the people around whom they gather."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from idsim.report.data import MatcherResults, RunResults, SetResults

__all__ = ["Group", "Item", "Nearest", "Pair", "Score"]

COLUMNS = (
    "synthetic", "synthetic_pseudonym", "cluster", "gallery", "rank", "image", "image_pseudonym", "person",
    "person_pseudonym", "score", "calibration_share", "reaches_primary",
)  # fmt: skip


class Item(NamedTuple):
    """An image of a run.

    Attributes
    ----------
    kind : str
        ``synthetic``, ``training`` or ``holdout``.
    variant : str
        The synthetic set in a series; empty for the others.
    name, pseudonym : str
        As the files have it, and as reports show it.
    """

    kind: str
    variant: str
    name: str
    pseudonym: str


class Score(NamedTuple):
    """What one matcher says of a pair.

    Attributes
    ----------
    value : float
        Cosine, distance, or what the matcher gives.
    share : float or None
        Share of the calibration searches whose best match is at least as good; None where not known.
    reaches : bool or None
        Whether it reaches the primary threshold; None where that is refused.
    """

    value: float
    share: float | None
    reaches: bool | None


@dataclass(frozen=True)
class Pair:
    """A synthetic image and a person of the training set.

    Attributes
    ----------
    synthetic, training : Item
        The images.
    holdout : Item or None
        The nearest image of the holdout, by the first of the matchers.
    holdout_score : float or None
        Its score.
    person, person_name : str
        Pseudonym and name of the training person.
    scores : dict
        By matcher; one is missing that does not have the person among its best matches of the image.
    """

    synthetic: Item
    training: Item
    holdout: Item | None
    holdout_score: float | None
    person: str
    person_name: str
    scores: dict[str, Score]

    @property
    def agreeing(self) -> int:
        """How many matchers take the two for one person at the primary operating point."""
        return sum(score.reaches is True for score in self.scores.values())


@dataclass
class Group:
    """A person of the training set, and the synthetic images that reach it at the primary operating point.

    Attributes
    ----------
    person, person_name : str
        Pseudonym and name.
    image : Item
        The image of the person that is nearest to a synthetic one, by the first of the matchers.
    members : dict
        The synthetic images, with the matchers that take them for the person; by the first of them, nearest first.
    clusters : set of tuple
        Synthetic set and cluster of the images.
    """

    person: str
    person_name: str
    image: Item
    members: dict[Item, list[str]] = field(default_factory=dict)
    clusters: set[tuple[str, str]] = field(default_factory=set)


class Nearest:
    """The tables of pairs of a run.

    Parameters
    ----------
    run : RunResults
        A finished run.
    """

    def __init__(self, run: RunResults) -> None:
        self._tables = [(matcher, [_Lines(part) for part in matcher.sets]) for matcher in run.matchers]

    def pairs(self, most: int) -> list[Pair]:
        """Return the nearest pairs of synthetic images and training persons, at most `most`, best first.

        A pair stands once, with the scores of all matchers. Scores of different matchers have no common unit, so each
        matcher orders the pairs of all its sets by its own scores, and a pair stands at the best of its places.
        """
        first: dict[tuple[Item, str], int] = {}
        for matcher, tables in self._tables:
            for place, row in enumerate(_leading(matcher, tables, most)):
                key = row.synthetic, row.person
                first[key] = min(place, first.get(key, place))
        chosen = sorted(first, key=lambda key: first[key])[:most]
        known = self._about([synthetic for synthetic, _ in chosen])
        return [_pair(person, known[synthetic]) for synthetic, person in chosen]

    def groups(self, most: int, least: int = 2) -> list[Group]:
        """Return the people of the training set whom at least `least` synthetic clusters reach, most of them first.

        Counted is what the tables of pairs list: of every image the best matches, five unless the scan asked for
        another number.
        """
        groups: dict[str, Group] = {}
        for matcher, tables in self._tables:
            rows = [
                row for lines in tables for row in lines.rows(np.flatnonzero(lines.training & lines.reaches))
            ]
            for row in sorted(rows, key=lambda row: _better(matcher) * row.score.value):
                group = groups.setdefault(row.person, Group(row.person, row.person_name, row.image))
                group.members.setdefault(row.synthetic, [])
                if matcher.name not in group.members[row.synthetic]:
                    group.members[row.synthetic].append(matcher.name)
                group.clusters.add((row.synthetic.variant, row.cluster))
        found = [group for group in groups.values() if len(group.clusters) >= least]
        found.sort(key=lambda group: (-len(group.clusters), -len(group.members), group.person))
        return found[:most]

    def _about(self, images: list[Item]) -> dict[Item, list[tuple[str, _Row]]]:
        """Return the lines about synthetic images, each with its matcher."""
        wanted: dict[str, set[str]] = {}
        for image in images:
            wanted.setdefault(image.variant, set()).add(image.pseudonym)
        found: dict[Item, list[tuple[str, _Row]]] = {image: [] for image in images}
        for matcher, tables in self._tables:
            for lines in tables:
                for row in lines.about(wanted.get(lines.variant, set())):
                    found[row.synthetic].append((matcher.name, row))
        return found


def _pair(person: str, known: list[tuple[str, _Row]]) -> Pair:
    own = [(matcher, row) for matcher, row in known if row.person == person and row.image.kind == "training"]
    scores: dict[str, Score] = {}
    for matcher, row in own:  # of several images of the person the nearest one comes first
        scores.setdefault(matcher, row.score)
    others = [row for _, row in known if row.image.kind == "holdout" and row.rank == 1]
    row, other = own[0][1], others[0] if others else None
    return Pair(
        synthetic=row.synthetic,
        training=row.image,
        holdout=None if other is None else other.image,
        holdout_score=None if other is None else other.score.value,
        person=person,
        person_name=row.person_name,
        scores=scores,
    )


def _better(matcher: MatcherResults) -> int:
    """Return 1 where lower scores are better, -1 otherwise: a factor to sort by."""
    described = matcher.summary["matcher"]
    lower = described["metric"] == "l2" or described.get("higher_is_better") is False
    return 1 if lower else -1


def _leading(matcher: MatcherResults, tables: list[_Lines], most: int) -> list[_Row]:
    """Return the best matches of the synthetic images of all sets, best first."""
    leading: list[_Row] = []
    for lines in tables:
        places = np.flatnonzero(lines.training & (lines.rank == 1))
        order = np.argsort(_better(matcher) * lines.score[places], kind="stable")[:most]
        leading += lines.rows(places[order])
    return sorted(leading, key=lambda row: _better(matcher) * row.score.value)[:most]


# --- tables ---------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A line of a table of pairs."""

    synthetic: Item
    cluster: str
    image: Item
    rank: int
    person: str
    person_name: str
    score: Score


class _Lines:
    """The table of one set. It may have millions of lines, so only chosen ones become rows.

    Attributes
    ----------
    variant : str
        The synthetic set in a series.
    training, reaches : ndarray
        bool ``[n]``: whether a line is of the training set, and whether it reaches the primary threshold.
    rank : ndarray
        int64 ``[n]``.
    score : ndarray
        float64 ``[n]``.
    """

    def __init__(self, part: SetResults) -> None:
        self.variant = part.name
        path = part.folder / "pairs.parquet"
        self._stored: Any = None
        if path.exists():
            import pyarrow.compute as pc
            import pyarrow.parquet as pq

            self._stored = table = pq.read_table(path, columns=list(COLUMNS))
            self.training = pc.equal(table["gallery"], "training").to_numpy()
            self.reaches = table["reaches_primary"].fill_null(False).to_numpy()
            self.rank, self.score = table["rank"].to_numpy(), table["score"].to_numpy()
            return
        self._columns = part.pairs(COLUMNS)
        columns = self._columns or {name: [] for name in COLUMNS}
        self.training = np.array([name == "training" for name in columns["gallery"]], np.bool_)
        self.reaches = np.array([value is True for value in columns["reaches_primary"]], np.bool_)
        self.rank = np.array(columns["rank"], np.int64)
        self.score = np.array(columns["score"], np.float64)

    def about(self, images: set[str]) -> list[_Row]:
        """Return the lines about synthetic images, given by pseudonym."""
        if not images or not len(self.rank):
            return []
        if self._stored is None:
            mask = [name in images for name in self._columns["synthetic_pseudonym"]]
            return self.rows(np.flatnonzero(mask))
        import pyarrow as pa
        import pyarrow.compute as pc

        mask = pc.is_in(self._stored["synthetic_pseudonym"], pa.array(sorted(images))).to_numpy()
        return self.rows(np.flatnonzero(mask))

    def rows(self, places: NDArray[np.int64]) -> list[_Row]:
        """Return chosen lines, in the order of `places`."""
        if self._stored is not None:
            table = self._stored.take(places).to_pydict()
        else:
            table = {name: [column[place] for place in places] for name, column in self._columns.items()}
        return list(self._made(zip(*(table.get(name, []) for name in COLUMNS), strict=True)))

    def _made(self, lines: Iterable[tuple[Any, ...]]) -> Iterable[_Row]:
        for (
            name,
            own,
            cluster,
            gallery,
            rank,
            image,
            image_own,
            person,
            person_own,
            score,
            share,
            reaches,
        ) in lines:
            yield _Row(
                Item("synthetic", self.variant, name, own),
                cluster,
                Item(gallery, "", image, image_own),
                rank,
                person_own,
                person,
                Score(score, share, reaches),
            )
