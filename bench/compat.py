"""What changing an import line changes: ``python -m bench.compat``.

Calls of FAISS, scikit-learn, sentence-transformers and PyTorch beside the same calls of `idsim.compat`, both at their
defaults, with as many threads as there are cores. Every round runs each pair once, in the order A B or B A in turn. A
number is the median of the per-round ratios, original's time over idsim's, with quartiles, and the share of the ids
that agree. (The originals sum in float32, so their ids of near ties differ.)

Where sentence-transformers is not installed, its place is taken by what it does, in plain PyTorch: the corpus scaled to
unit length once, products of 100 queries at a time, `topk`, lists of dictionaries.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import _core
from idsim.benchmark import pin_threads
from idsim.benchmark.cases import make_rows
from idsim.benchmark.environment import start_again_if_held
from idsim.compat import faiss as compat_faiss
from idsim.compat import sentence_transformers as compat_sentences
from idsim.compat.sklearn import ExactNeighbors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

PAUSE_S = 0.02
QUERY_CHUNK = 100  # sentence-transformers' default


@dataclass(frozen=True)
class Pair:
    """A call of another library and the same call of idsim; each returns ids [q, k]."""

    name: str
    original: Callable[[], Ids]
    ours: Callable[[], Ids]


def faiss_pairs(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> Iterator[Pair]:
    import faiss

    for metric in ("METRIC_INNER_PRODUCT", "METRIC_L2"):
        yield Pair(
            f"faiss.knn, {metric}",
            lambda m=metric: faiss.knn(queries, gallery, 10, getattr(faiss, m))[1],
            lambda m=metric: compat_faiss.knn(queries, gallery, 10, getattr(compat_faiss, m))[1],
        )
    theirs, ours = (library.IndexFlatIP(gallery.shape[1]) for library in (faiss, compat_faiss))
    for index in (theirs, ours):
        index.add(gallery)
    ours.search(queries[:1], 1)  # the one that reads the rows as they are
    for count in sorted({1, len(queries)}):
        yield Pair(
            f"faiss.IndexFlatIP.search, {count} queries, not the first search",
            lambda n=count: theirs.search(queries[:n], 10)[1],
            lambda n=count: ours.search(queries[:n], 10)[1],
        )


def sklearn_pairs(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> Iterator[Pair]:
    from sklearn.neighbors import NearestNeighbors

    for metric in ("cosine", "euclidean"):
        theirs = NearestNeighbors(metric=metric, algorithm="brute").fit(gallery)
        ours = ExactNeighbors(metric=metric, algorithm="brute").fit(gallery)
        ours.kneighbors(queries[:1], 1)
        yield Pair(
            f"sklearn NearestNeighbors.kneighbors, {metric}, not the first call",
            lambda t=theirs: t.kneighbors(queries, return_distance=False),
            lambda o=ours: o.kneighbors(queries, return_distance=False),
        )


def plain_semantic_search(queries: Any, corpus: Any, top_k: int = 10) -> list[list[dict[str, Any]]]:
    """Search as sentence-transformers does, without what it repeats."""
    from torch.nn.functional import normalize

    columns = normalize(corpus, dim=1).T
    found = []
    for start in range(0, len(queries), QUERY_CHUNK):
        best = (normalize(queries[start : start + QUERY_CHUNK], dim=1) @ columns).topk(top_k, dim=1)
        for scores, ids in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            found.append([{"corpus_id": i, "score": s} for i, s in zip(ids, scores, strict=True)])
    return found


def sentence_pairs(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> Iterator[Pair]:
    import torch

    try:
        search, name = importlib.import_module("sentence_transformers.util").semantic_search, ""
    except ImportError:
        search, name = plain_semantic_search, " (plain PyTorch in its place)"
    rows = torch.from_numpy(queries), torch.from_numpy(gallery)

    def ids_of(hits: list[list[dict[str, Any]]]) -> Ids:
        return np.array([[hit["corpus_id"] for hit in best] for best in hits])

    yield Pair(
        f"sentence-transformers semantic_search{name}",
        lambda: ids_of(search(*rows)),
        lambda: ids_of(compat_sentences.semantic_search(*rows)),
    )


def torch_pairs(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> Iterator[Pair]:
    import torch
    from torch.nn.functional import normalize

    from idsim.compat.torch_op import topk

    rows = torch.from_numpy(queries), torch.from_numpy(gallery)

    def theirs() -> Ids:
        scores = normalize(rows[0], dim=1) @ normalize(rows[1], dim=1).T
        return scores.topk(10, dim=1).indices.numpy()

    def ours() -> Ids:
        return topk(*rows, 10)[1].numpy()

    yield Pair("torch normalize, matmul, topk", theirs, ours)


LIBRARIES = {
    "faiss": faiss_pairs,
    "sklearn": sklearn_pairs,
    "sentences": sentence_pairs,
    "torch": torch_pairs,
}


def timed(call: Callable[[], Ids]) -> tuple[float, Ids]:
    time.sleep(PAUSE_S)  # worker threads spin for a while after their work
    start = time.perf_counter()
    ids = call()
    return time.perf_counter() - start, ids


def agreement(a: Ids, b: Ids) -> float:
    """Return the share of the ids of a that stand in the same row of b."""
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(a, b, strict=True)]))


def measure(pair: Pair, rounds: int) -> dict[str, Any]:
    """Return the seconds of every round and the share of ids that agree; a first round warms up."""
    seconds: dict[str, list[float]] = {"original": [], "ours": []}
    ids: dict[str, Ids] = {}
    for number in range(rounds + 1):
        names = ("original", "ours") if number % 2 else ("ours", "original")
        for name in names:
            passed, ids[name] = timed(getattr(pair, name))
            if number:
                seconds[name].append(passed)
    ratios = [a / b for a, b in zip(seconds["original"], seconds["ours"], strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "name": pair.name,
        "ratio": {"median": median, "low": low, "high": high, "rounds": rounds},
        "ids_agree": agreement(ids["original"], ids["ours"]),
        "seconds": seconds,
    }


def line(result: dict[str, Any]) -> str:
    ratio = result["ratio"]
    theirs, ours = (1e3 * statistics.median(result["seconds"][name]) for name in ("original", "ours"))
    return (
        f"{result['name']:72} {ratio['median']:6.1f}x ({ratio['low']:.1f} to {ratio['high']:.1f})"
        f" {theirs:9.1f} ms {ours:9.1f} ms  ids {100 * result['ids_agree']:.2f} %"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=4, help="2 or more")
    parser.add_argument("--data", choices=("random", "clustered"), default="random")
    parser.add_argument("--only", choices=tuple(LIBRARIES), action="append", help="default: all")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error(f"--rounds must be 2 or more, not {options.rounds}")
    start_again_if_held()
    threads = _core.default_threads()
    queries, gallery = make_rows(options.data, options.rows, options.dim, options.queries)
    size = f"{options.queries} queries, {options.rows} rows, d={options.dim}, {options.data}"
    if not options.json:
        print(f"{size}, {_core.active_isa()}, {threads} threads: original's time / idsim's")
    results = []
    with pin_threads(threads):
        for name in options.only or LIBRARIES:
            for pair in LIBRARIES[name](queries, gallery):
                results.append(measure(pair, options.rounds))
                if not options.json:
                    print(line(results[-1]), flush=True)
    if options.json:
        about = {"size": size, "instruction_set": _core.active_isa(), "threads": threads}
        json.dump({**about, "results": results}, sys.stdout, indent=2)
        print()


if __name__ == "__main__":
    main()
