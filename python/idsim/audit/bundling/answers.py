"""What was asked of embeddings beyond the stored comparisons: noted when a run is packed, looked up when it is not.

Mated scores, and pairs and best matches that the stored comparisons do not reach down to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.audit.faces import EmbeddingsNeededError
from idsim.audit.pairs.comparing import VectorComparisons
from idsim.audit.pairs.tails import TooLooseError, UnsupportedError
from idsim.results import Pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.comparing import VectorImpostors
    from idsim.options import Metric

    Question = tuple[str, ...]
    Ask = Callable[[Question, Callable[[], "Answer"]], "Answer"]

__all__ = ["REFUSALS", "Answer", "AskedComparisons", "Known", "Noted"]

REFUSALS = {"too loose": TooLooseError, "unsupported": UnsupportedError}


class Answer(NamedTuple):
    """The answer to a question: arrays, or why there are none.

    Attributes
    ----------
    arrays : tuple of ndarray
        float32 and int64.
    refusal, text : str
        A key of `REFUSALS`, and the sentence of the error; empty for arrays.
    """

    arrays: tuple[NDArray[Any], ...]
    refusal: str = ""
    text: str = ""

    def given(self) -> tuple[NDArray[Any], ...]:
        """Return the arrays, or raise the error."""
        if self.refusal:
            raise REFUSALS[self.refusal](self.text)
        return self.arrays


class Noted:
    """Answers of the engine, noted by their questions."""

    def __init__(self) -> None:
        self.answers: dict[Question, Answer] = {}

    def __call__(self, question: Question, compute: Callable[[], Answer]) -> Answer:
        """Return the answer, computed when it is asked for first."""
        if question not in self.answers:
            try:
                answer = compute()
            except UnsupportedError as error:
                kind = "too loose" if isinstance(error, TooLooseError) else "unsupported"
                answer = Answer((), kind, str(error))
            self.answers[question] = answer
        return self.answers[question]


class Known:
    """Answers that are known; nothing is computed.

    Parameters
    ----------
    answers : dict
        By question.
    """

    def __init__(self, answers: dict[Question, Answer]) -> None:
        self._answers = answers

    def __call__(self, question: Question, compute: Callable[[], Answer]) -> Answer:  # noqa: ARG002
        """Return the answer.

        Raises
        ------
        EmbeddingsNeededError
            It is not known.
        """
        if question not in self._answers:
            raise EmbeddingsNeededError(f"the bundle does not say: {' '.join(question)}")
        return self._answers[question]


class AskedComparisons:
    """Comparisons of embeddings, each question put to `ask` with what would compute its answer.

    Parameters
    ----------
    metric : {"cosine", "l2"}
        How embeddings are compared.
    ask : callable
        `Noted` or `Known`.
    """

    complete = True

    def __init__(self, metric: Metric, ask: Ask) -> None:
        self.metric, self._ask, self._engine = metric, ask, VectorComparisons(metric)

    def best(
        self, queries: FaceSet, gallery: FaceSet, count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return scores and numbers of the best matches."""
        question = ("best", queries.name, gallery.name, str(count))
        scores, ids = self._ask(question, lambda: Answer(self._engine.best(queries, gallery, count))).given()
        return scores, ids

    def reaching(self, queries: FaceSet, gallery: FaceSet, threshold: float) -> Pairs | None:
        """Return the pairs that reach a threshold."""
        question = ("reaching", queries.name, gallery.name, repr(float(threshold)))

        def compute() -> Answer:
            found = self._engine.reaching(queries, gallery, threshold)
            assert found is not None, "the engine compares any two sets"
            return Answer(tuple(found))

        return Pairs(*self._ask(question, compute).given())

    def compared(self, queries: FaceSet, gallery: FaceSet) -> None:
        """Return None: nothing is stored."""

    def claimed_fmr(self, threshold: float) -> None:
        """Return None: a similarity claims no error rate."""

    def claimed_threshold(self, fmr: float) -> None:
        """Return None: a similarity claims no error rate."""

    def mated(self, sets: Sequence[FaceSet]) -> tuple[NDArray[np.float32], int]:
        """Return the scores of pairs of images of one person, and the persons in them."""

        def compute() -> Answer:
            scores, persons = self._engine.mated(sets)
            return Answer((scores, np.array([persons], np.int64)))

        scores, persons = self._ask(("mated", *(faces.name for faces in sets)), compute).given()
        return scores, int(persons[0])

    def impostors(
        self, faces: FaceSet, codes: NDArray[np.int64], searched: tuple[FaceSet, NDArray[np.int64]] | None
    ) -> AskedImpostors:
        """Return the comparisons of persons of a set."""
        about = (faces.name, searched[0].name if searched else "")
        return AskedImpostors(
            self.metric,
            (codes, searched[1] if searched else None),
            about,
            self._ask,
            lambda: self._engine.impostors(faces, codes, searched),
        )

    def further(self, question: Question, compute: Callable[[], NDArray[Any]]) -> NDArray[np.float32]:
        """Return scores that only embeddings tell."""
        (scores,) = self._ask(
            ("further", *question), lambda: Answer((self._engine.further(question, compute),))
        ).given()
        return np.asarray(scores, np.float32)


class AskedImpostors:
    """Impostor comparisons of embeddings, each question put to `ask`.

    Parameters
    ----------
    metric : {"cosine", "l2"}
        How embeddings are compared.
    persons : tuple of ndarray
        int64: persons of the faces, and of another set that is searched, or None.
    about : tuple of str
        Names of both sets.
    ask : callable
        `Noted` or `Known`.
    make : callable
        Returns what computes answers.
    """

    def __init__(
        self,
        metric: Metric,
        persons: tuple[NDArray[np.int64], NDArray[np.int64] | None],
        about: tuple[str, str],
        ask: Ask,
        make: Callable[[], VectorImpostors],
    ) -> None:
        self.metric, self._about, self._ask, self._make = metric, about, ask, make
        self.persons, other = persons
        self.searched, self.separate = self.persons if other is None else other, other is not None

    def best(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return score and number of the best match of every face among the searched of other persons."""
        question = ("impostors' best", *self._about)
        scores, ids = self._ask(question, lambda: Answer(self._make().best())).given()
        return scores, ids

    def pairs(self, threshold: float) -> Pairs:
        """Return the unordered pairs of different persons that reach a threshold."""
        question = ("impostors' pairs", *self._about, repr(float(threshold)))
        return Pairs(*self._ask(question, lambda: Answer(tuple(self._make().pairs(threshold)))).given())

    def tail(self, count: int) -> NDArray[np.float32]:
        """Return at least the `count` best scores of unordered pairs of different persons, best first."""
        question = ("impostors' tail", *self._about, str(count))
        (scores,) = self._ask(question, lambda: Answer((self._make().tail(count),))).given()
        return np.asarray(scores, np.float32)

    def known(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return True for every score."""
        return np.ones(scores.shape, np.bool_)
