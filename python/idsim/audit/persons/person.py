"""One person's question to a scan: whether, how strongly and by which images the person was reproduced."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.folder import PROVENANCE
from idsim.audit.pairs.compared import better_is_higher, reaches
from idsim.audit.records import pseudonym
from idsim.topk import search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.pairing import Pairing
    from idsim.audit.reopening import OpenRun
    from idsim.audit.work import Work
    from idsim.options import Metric

__all__ = ["Answer", "Match", "Reached", "ask", "vectors_of_person"]

REAL = ("training", "holdout", "probes")


@dataclass(frozen=True)
class Match:
    """A synthetic image that resembles the person.

    Attributes
    ----------
    image, pseudonym : str
        Its name, and what it is called in reports.
    score : float
        Against the person's best image.
    """

    image: str
    pseudonym: str
    score: float


@dataclass(frozen=True)
class Reached:
    """What an operating point says of the person.

    Attributes
    ----------
    name : str
        Of the point.
    threshold : float
        Of the point.
    images, clusters : int
        Synthetic images, and clusters of them, that reach the person.
    """

    name: str
    threshold: float
    images: int
    clusters: int


@dataclass(frozen=True)
class Answer:
    """What one matcher says of a person and one synthetic set.

    Attributes
    ----------
    matcher, variant : str
        The matcher, and the synthetic set of a series.
    set : str
        ``training``, ``holdout``, ``probes``; empty: the person came from outside.
    images : int
        Images of the person that were searched for.
    best : float or None
        Best score of any synthetic image.
    points : tuple of Reached
        The operating points.
    p_value : float or None
        ``(1 + people of the holdout whom the synthetic set resembles as much) / (people of the holdout + 1)``: people
        who were not trained on, each with their best image. None for a person of the holdout, who is one of them.
    compared : int
        People of the holdout that were compared.
    matches : tuple of Match
        The nearest synthetic images, nearest first.
    """

    matcher: str
    variant: str
    set: str
    images: int
    best: float | None
    points: tuple[Reached, ...]
    p_value: float | None
    compared: int
    matches: tuple[Match, ...]

    @property
    def sentence(self) -> str:
        """What it means, in words."""
        if not self.points:
            return "Inconclusive: the scan has no threshold for this matcher."
        first = self.points[0]
        chance = ""
        if self.p_value is not None:
            chance = (
                f" Of {self.compared} people of the holdout, who were not trained on, "
                f"{round(self.p_value * (self.compared + 1)) - 1} are resembled as much (p = {self.p_value:.2g})."
            )
        if not first.images:
            return (
                f"Not reproduced at {first.name}: none of the synthetic images reaches this person.{chance} "
                "This bounds what this matcher sees; it does not prove privacy."
            )
        return (
            f"Reproduced at {first.name}: {first.images} synthetic images in {first.clusters} clusters reach this "
            f"person.{chance}"
        )

    def entry(self, names: bool = False) -> dict[str, Any]:
        """Return plain JSON values; names of files only if asked for."""
        return {
            "matcher": self.matcher,
            "synthetic": self.variant or "synthetic",
            "set": self.set or None,
            "images": self.images,
            "best_score": self.best,
            "points": [vars(point) for point in self.points],
            "p_value": self.p_value,
            "holdout_people": self.compared,
            "sentence": self.sentence,
            "matches": [
                {"image": match.image if names else match.pseudonym, "score": match.score}
                for match in self.matches
            ],
        }


def vectors_of_person(run: OpenRun, work: Work, name: str) -> tuple[str, NDArray[np.float32]]:
    """Return the set and the embeddings ``[n, d]`` of a person of the run.

    Parameters
    ----------
    run : OpenRun
        The run.
    work : Work
        The matcher.
    name : str
        Label of the person, name of one of the images, or the pseudonym of either.

    Raises
    ------
    ValueError
        Nobody is called so, or no image has a face.
    """
    key = hashlib.sha256((run.folder / PROVENANCE).read_bytes()).digest()
    for title in (title for title in REAL if title in work.real):
        faces = work.real[title].faces()
        label = _label(faces, name, key)
        if label is not None:
            rows = np.array([faces.labels[row] == label for row in faces.rows.tolist()], np.bool_)
            if not rows.any():
                raise ValueError(f"no image of {name} in [{title}] has a face")
            return title, faces.vectors[rows]
    raise ValueError(f"{run.folder} knows nobody called {name!r}: give a label, an image or a pseudonym")


def _label(faces: FaceSet, name: str, key: bytes) -> str | None:
    if name in set(faces.labels):
        return name
    if name in set(faces.items):
        return faces.labels[faces.items.index(name)]
    if name[:2] != f"{faces.name[0].upper()}-":
        return None
    for label in dict.fromkeys(faces.labels):
        if pseudonym(key, f"{faces.name} person", label) == name:
            return label
    for item, label in zip(faces.items, faces.labels, strict=True):
        if pseudonym(key, faces.name, item) == name:
            return label
    return None


def ask(
    run: OpenRun, work: Work, vectors: NDArray[np.float32], title: str = "", count: int = 10
) -> list[Answer]:
    """Return what one matcher says of a person, for each synthetic set.

    Parameters
    ----------
    run : OpenRun
        The run.
    work : Work
        The matcher; it must give embeddings.
    vectors : ndarray
        float32 ``[n, d]``: the person's embeddings.
    title : str
        The set that the person is in; empty: none.
    count : int
        How many synthetic images to name.

    Raises
    ------
    ValueError
        The matcher gives scores alone, or the embeddings are not finite or of another length.
    """
    pairing = run.pairings.get(work.label)
    if pairing is None:
        raise ValueError(
            f"{work.label or work.matcher['name']} gives scores, no embeddings: nobody can be searched for"
        )
    if vectors.ndim != 2 or vectors.shape[1] != work.matcher["dim"] or not np.isfinite(vectors).all():
        raise ValueError(
            f"an embedding must have {work.matcher['dim']} finite numbers, not shape {list(vectors.shape)}"
        )
    key = hashlib.sha256((run.folder / PROVENANCE).read_bytes()).digest()
    points = [
        (str(point["name"]), float(point["threshold"]))
        for point in run.summary_of(work)["operating_points"]
        if point["threshold"] is not None
    ]
    return [
        _answer(pairing, variant, part.faces(), vectors, title, points, key, count)
        for variant, part in work.series.items()
    ]


def _answer(
    pairing: Pairing,
    variant: str,
    synthetic: FaceSet,
    vectors: NDArray[np.float32],
    title: str,
    points: Sequence[tuple[str, float]],
    key: bytes,
    count: int,
) -> Answer:
    metric = pairing.metric
    found, _ = search(synthetic.vectors, vectors, 1, metric=metric)
    scores = np.asarray(found)[:, 0] if len(synthetic.rows) else np.empty(0, np.float32)
    order = np.argsort(-better_is_higher(scores, metric), kind="stable")[:count]
    clusters = synthetic.codes()[0]
    reached = []
    for name, threshold in points:
        hit = reaches(scores, threshold, metric)
        reached.append(Reached(name, threshold, int(hit.sum()), len(np.unique(clusters[hit]))))
    null = _holdout_best(pairing, variant, synthetic, metric)
    best = scores[order[:1]]
    p_value = None
    if title != "holdout" and len(best) and len(null):
        as_good = (null >= better_is_higher(best, metric)[0]).sum()
        p_value = float((1 + as_good) / (len(null) + 1))
    items = [synthetic.items[int(synthetic.rows[row])] for row in order.tolist()]
    return Answer(
        matcher=pairing.work.label or str(pairing.work.matcher["name"]),
        variant=variant,
        set=title,
        images=len(vectors),
        best=float(best[0]) if len(best) else None,
        points=tuple(reached),
        p_value=p_value,
        compared=len(null),
        matches=tuple(
            Match(item, pseudonym(key, "synthetic", item), float(scores[row]))
            for item, row in zip(items, order.tolist(), strict=True)
        ),
    )


def _holdout_best(pairing: Pairing, variant: str, synthetic: FaceSet, metric: Metric) -> NDArray[np.float64]:
    """Return float64 ``[people]``: how much the synthetic set resembles each person of the holdout; higher is more."""
    holdout = pairing.real["holdout"]
    if not len(synthetic.rows):
        return np.empty(0, np.float64)
    compared = pairing.compared("HxS", variant)
    if compared is None:
        found, _ = search(holdout.vectors, synthetic.vectors, 1, metric=metric)
        best = better_is_higher(np.asarray(found)[:, 0], metric)
    else:
        best = better_is_higher(compared.scores[:, 0], metric)
    codes, labels = holdout.codes()
    people = np.full(len(labels), -np.inf)
    np.maximum.at(people, codes, best)
    return people
