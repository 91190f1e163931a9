"""Check the engine's answers by certificate: count what an answer must contain, do not sort again.

For each query a float64 matrix product of unit rows says how every gallery row scores, to within
:func:`oracle_error`. An answer is right when its scores are the canonical ones bit for bit, its order
is right, and no row outside it scores better than its last place. Rows that the product cannot
decide, because they lie within that error of a rounding border, are scored canonically; samples of
the canonical scores are compared with exactly rounded sums (``math.fsum``), which share no code with
the engine, NumPy or BLAS.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from idsim import reference
from idsim.index import Index
from idsim.topk import search as engine

__all__ = ["BUGS", "DATA", "Check", "Report", "check", "planted", "run"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Answer = tuple[Float32, Int64]
Search = Callable[[Float32, Float32, int], Answer]

GALLERY_ROWS = 50_000
QUERY_ROWS = 2_000
BLOCK_ROWS = 8_192  # 2,000 x 8,192 float64 = 131 MB for the oracle's products
SCORED_PAIRS = 4_096  # pairs per canonical scoring call
EXACT_SAMPLE = 32  # pairs per round that are also summed exactly
NEIGHBOURS = (10, 1, 100)


# --- data -----------------------------------------------------------------------------------------


def _normal(rng: np.random.Generator, n: int, d: int) -> Float32:
    return rng.standard_normal((n, d), dtype=np.float32)


def random_rows(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Return independent normal rows: all cosines lie near 0."""
    return _normal(rng, q, d), _normal(rng, n, d)


def clustered_rows(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Return 20 rows per identity with a cosine near 0.6 between rows of one identity."""
    centres = _normal(rng, max(1, n // 20), d)

    def images(count: int) -> Float32:
        return centres[rng.integers(0, len(centres), count)] + np.float32(0.8) * _normal(rng, count, d)

    return images(q), images(n)


def near_duplicate_rows(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Return about 200 copies per base with noise of 1e-4, 1e-3 and 1e-2, and exact duplicates."""
    bases = _normal(rng, max(1, n // 200), d)

    def copies(count: int) -> Float32:
        noise = rng.choice([0, 1e-4, 1e-3, 1e-2], (count, 1), p=[0.1, 0.3, 0.3, 0.3])
        return bases[rng.integers(0, len(bases), count)] + noise.astype(np.float32) * _normal(rng, count, d)

    return copies(q), copies(n)


DATA = {"random": random_rows, "clustered": clustered_rows, "near duplicates": near_duplicate_rows}


# --- the certificate ------------------------------------------------------------------------------


@dataclass
class Check:
    """What one certificate check found.

    Attributes
    ----------
    pairs : int
        Scored pairs of query and gallery row that the check covers.
    differences : list of str
        Everything that is not as the definition says; empty when the answer is right.
    tied : int
        Rows outside the answer that tie with its last place and lose by their id.
    decided_canonically : int
        Rows too close to a rounding border for the matrix product.
    summed_exactly : int
        Pairs whose canonical score was compared with an exactly rounded sum.
    """

    pairs: int = 0
    differences: list[str] = field(default_factory=list)
    tied: int = 0
    decided_canonically: int = 0
    summed_exactly: int = 0

    def add(self, other: Check) -> None:
        """Add the findings of another check."""
        self.pairs += other.pairs
        self.differences += other.differences
        self.tied += other.tied
        self.decided_canonically += other.decided_canonically
        self.summed_exactly += other.summed_exactly


def oracle_error(d: int) -> float:
    """Return a bound on |product - canonical| for unit rows: twice d + 8 roundings, at least 1e-12."""
    return max(1e-12, 2.0 * (d + 8) * 2.0**-53)


def _unit(rows: Float32) -> Float64:
    wide = rows.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    unit: Float64 = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    return unit


def _rounding_borders(scores: Float32) -> tuple[Float64, Float64]:
    """Return the lowest and highest real number that may round to each float32 score."""
    wide = scores.astype(np.float64)
    below = np.nextafter(scores, np.float32(-np.inf)).astype(np.float64)
    above = np.nextafter(scores, np.float32(np.inf)).astype(np.float64)
    return (below + wide) / 2, (wide + above) / 2


def _scores_of(queries: Float32, gallery: Float32, rows: Int64, ids: Int64) -> Float32:
    parts = [np.zeros(0, np.float32)]
    for low in range(0, len(ids), SCORED_PAIRS):
        part = slice(low, low + SCORED_PAIRS)
        parts.append(reference.paired_scores(queries[rows[part]], gallery[ids[part]]))
    return np.concatenate(parts)


def _check_answer(queries: Float32, gallery: Float32, scores: Float32, ids: Int64) -> list[str]:
    """Compare dtype, shape, ids, order and the bits of all scores of an answer."""
    q, k = ids.shape
    if scores.dtype != np.float32 or ids.dtype != np.int64 or scores.shape != (q, k) or q != len(queries):
        return [f"the answer is {scores.dtype} {scores.shape} and {ids.dtype} {ids.shape}"]
    bad = np.argwhere((ids < 0) | (ids >= len(gallery)))
    if len(bad):
        return [f"query {row}: id {ids[row, place]} at place {place}" for row, place in bad[:5]]
    worse = scores[:, 1:] < scores[:, :-1]
    later = (scores[:, 1:] == scores[:, :-1]) & (ids[:, 1:] > ids[:, :-1])
    found = [f"query {row}: wrong order at place {place}" for row, place in np.argwhere(~(worse | later))]
    rows = np.repeat(np.arange(q, dtype=np.int64), k)
    right = _scores_of(queries, gallery, rows, ids.ravel()).view(np.uint32)
    for place in np.flatnonzero(scores.ravel().view(np.uint32) != right):
        row = rows[place]
        found.append(f"query {row}: the score of id {ids.ravel()[place]} is not canonical")
    return found


def _check_outside(queries: Float32, gallery: Float32, scores: Float32, ids: Int64) -> Check:
    """Look for rows outside the answer that belong into it."""
    result = Check(pairs=len(queries) * len(gallery))
    error = oracle_error(queries.shape[1])
    low, high = (border[:, None] for border in _rounding_borders(scores[:, -1]))
    last = ids[:, -1]
    left = _unit(queries)
    for first in range(0, len(gallery), BLOCK_ROWS):
        block = gallery[first : first + BLOCK_ROWS]
        product = left @ _unit(block).T
        inside = np.nonzero((ids >= first) & (ids < first + len(block)))
        product[inside[0], ids[inside] - first] = np.nan
        rows, columns = np.nonzero(product >= low - error)
        values, found = product[rows, columns], columns + first
        better = values > high[rows, 0] + error
        tied = (values > low[rows, 0] + error) & (values < high[rows, 0] - error)
        wrong = better | (tied & (found < last[rows]))
        close = np.flatnonzero(~better & ~tied)
        canonical = _scores_of(queries, gallery, rows[close], found[close])
        limit = scores[rows[close], -1]
        wrong[close] = (canonical > limit) | ((canonical == limit) & (found[close] < last[rows[close]]))
        result.tied += int(tied.sum())
        result.decided_canonically += len(close)
        for place in np.flatnonzero(wrong):
            result.differences.append(f"query {rows[place]}: id {found[place]} is missing from the answer")
    return result


def _exact_cosine(a: Float32, b: Float32) -> float:
    """Return the cosine from exactly rounded sums of exact products."""

    def dot(x: list[float], y: list[float]) -> float:
        return math.fsum(i * j for i, j in zip(x, y, strict=True))

    x, y = a.astype(np.float64).tolist(), b.astype(np.float64).tolist()
    size = math.sqrt(dot(x, x)) * math.sqrt(dot(y, y))
    return dot(x, y) / size if size else 0.0


def _check_exactly(queries: Float32, gallery: Float32, scores: Float32, ids: Int64) -> Check:
    """Compare a spread sample of the answer with exactly rounded sums."""
    result = Check()
    places = np.unique(np.linspace(0, ids.size - 1, EXACT_SAMPLE).astype(np.int64))
    low, high = _rounding_borders(scores.ravel()[places])
    error = oracle_error(queries.shape[1])
    for place, least, most in zip(places, low, high, strict=True):
        row, column = divmod(int(place), ids.shape[1])
        exact = _exact_cosine(queries[row], gallery[ids[row, column]])
        result.summed_exactly += 1
        if not least - error <= exact <= most + error:
            result.differences.append(f"query {row}: the exact cosine of place {column} is {exact!r}")
    return result


def check(queries: Float32, gallery: Float32, answer: Answer) -> Check:
    """Check a cosine top-k answer against its certificate.

    Parameters
    ----------
    queries : float32 [q, d]
    gallery : float32 [n, d]
        Finite rows; n is at least k.
    answer : (scores float32 [q, k], ids int64 [q, k])
        k is at least 1.
    """
    scores, ids = answer
    wrong = _check_answer(queries, gallery, scores, ids)
    if wrong:
        return Check(len(queries) * len(gallery), wrong)
    result = _check_outside(queries, gallery, scores, ids)
    result.add(_check_exactly(queries, gallery, scores, ids))
    return result


# --- the run --------------------------------------------------------------------------------------


@dataclass
class Report:
    """The sum of all checks of a run, with the seconds that search and check took."""

    total: Check
    dim: int
    rounds: int = 0
    search_s: float = 0.0
    check_s: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether there were pairs to check and no difference among them."""
        return self.total.pairs > 0 and not self.total.differences

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        values = asdict(self.total) | {"differences": len(self.total.differences)}
        values["examples"] = self.total.differences[:10]
        values |= {"dim": self.dim, "rounds": self.rounds, "passed": self.passed}
        return values | {"search_s": round(self.search_s, 3), "check_s": round(self.check_s, 3)}


def engine_search(queries: Float32, gallery: Float32, k: int) -> Answer:
    """Search one-shot and prepared; both must give the same bytes."""
    direct = engine(queries, gallery, k)
    prepared = Index(gallery).search(queries, k)
    if any(a.tobytes() != b.tobytes() for a, b in zip(direct, prepared, strict=True)):
        raise AssertionError("search and Index.search give different bytes")
    return direct.scores, direct.ids


def _shift_score(search: Search, queries: Float32, gallery: Float32, k: int) -> Answer:
    scores, ids = search(queries, gallery, k)
    scores[-1, -1] = np.nextafter(scores[-1, -1], np.float32(-2))
    return scores, ids


def _miss_row(search: Search, queries: Float32, gallery: Float32, k: int) -> Answer:
    scores, ids = search(queries, gallery, k + 1)
    return scores[:, 1:].copy(), ids[:, 1:].copy()


def _swap_ids(search: Search, queries: Float32, gallery: Float32, k: int) -> Answer:
    scores, ids = search(queries, gallery, k)
    ids[0] = ids[0, ::-1] if k > 1 else (ids[0] + 1) % len(gallery)
    return scores, ids


def _prefer_high_ids(search: Search, queries: Float32, gallery: Float32, k: int) -> Answer:
    scores, ids = search(queries, np.ascontiguousarray(gallery[::-1]), k)
    return scores, len(gallery) - 1 - ids


# Bugs to plant: a checker that stays silent on one of them proves nothing.
BUGS = {"score": _shift_score, "missing": _miss_row, "order": _swap_ids, "ties": _prefer_high_ids}


def planted(bug: str, search: Search = engine_search) -> Search:
    """Return a search with one of the bugs of ``BUGS`` in it."""
    if bug not in BUGS:
        raise ValueError(f"bug must be one of {', '.join(BUGS)}, not {bug!r}")
    return lambda queries, gallery, k: BUGS[bug](search, queries, gallery, k)


def run(
    pairs: int = 1_000_000_000,
    dim: int = 512,
    *,
    seed: int = 0,
    search: Search = engine_search,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Search and check until at least ``pairs`` pairs are covered.

    Rounds take turns through the kinds of data in ``DATA`` and through k = 10, 1, 100, each of which
    has its share of the pairs.

    Parameters
    ----------
    pairs : int
        Pairs of query and gallery row to cover.
    dim : int
        Columns of the rows.
    seed : int
        Of the first round; round i has ``seed + i``.
    search : callable (queries, gallery, k) -> (scores, ids)
        What is checked; the engine by default.
    progress : callable (pairs done, pairs in all), optional

    Returns
    -------
    Report
    """
    if pairs < 0 or dim < 1:
        raise ValueError(f"pairs must be at least 0 and dim at least 1, not {pairs} and {dim}")
    report = Report(Check(), dim)
    share = -(-pairs // (len(DATA) * len(NEIGHBOURS)))
    rows = max(200, min(GALLERY_ROWS, 5 * math.isqrt(share)))
    while report.total.pairs < pairs:
        name = list(DATA)[report.rounds % len(DATA)]
        k = NEIGHBOURS[report.rounds // len(DATA) % len(NEIGHBOURS)]
        wanted = -(-min(share, pairs - report.total.pairs) // rows)
        rng = np.random.default_rng(seed + report.rounds)
        queries, gallery = DATA[name](rng, min(QUERY_ROWS, wanted), rows, dim)
        start = time.perf_counter()
        answer = search(queries, gallery, k)
        middle = time.perf_counter()
        found = check(queries, gallery, answer)
        found.differences = [f"{name}, round {report.rounds}, k {k}, {text}" for text in found.differences]
        report.total.add(found)
        report.rounds += 1
        report.search_s += middle - start
        report.check_s += time.perf_counter() - middle
        if progress is not None:
            progress(min(report.total.pairs, pairs), pairs)
    return report
