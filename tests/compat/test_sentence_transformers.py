"""`idsim.compat.sentence_transformers` beside a plain statement of what sentence-transformers documents, in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import idsim
from idsim.compat.sentence_transformers import (
    community_detection,
    paraphrase_mining_embeddings,
    semantic_search,
)
from support import torch_threads
from support.data import grid_rows, normal, tie_groups, unit

one_thread = torch_threads.one_thread

FORMS = {
    "arrays": lambda a: a,
    "tensors": torch.from_numpy,
    "lists of arrays": list,
    "lists of tensors": lambda a: list(torch.from_numpy(a)),
}


def scores_of(a, b, metric="cosine"):
    """Every score in float64, of equal pairs the same, rounded to float32 so that ties are ties."""
    a, b = (torch.from_numpy(rows).double() for rows in (a, b))
    products = (a[:, None] * b[None]).sum(-1)
    if metric == "dot":
        return products.float()
    norms = a.square().sum(-1).sqrt()[:, None] * b.square().sum(-1).sqrt()[None]
    return torch.where(norms > 0, products / norms, 0.0).float()


def stated_search(queries, corpus, top_k, metric="cosine"):
    found = scores_of(queries, corpus, metric).sort(dim=1, descending=True, stable=True)
    return [
        [{"corpus_id": i, "score": s} for s, i in zip(values[:top_k], ids[:top_k], strict=True)]
        for values, ids in zip(found.values.tolist(), found.indices.tolist(), strict=True)
    ]


def stated_mining(rows, top_k, max_pairs, metric="cosine"):
    scores = scores_of(rows, rows, metric)
    pairs = set()
    for i, row in enumerate(scores):
        others = [j for j in row.sort(descending=True, stable=True).indices.tolist() if j != i]
        pairs |= {(min(i, j), max(i, j)) for j in others[:top_k]}
    listed = [[scores[i, j].item(), i, j] for i, j in pairs]
    return sorted(listed, key=lambda pair: (-pair[0], *pair[1:]))[:max_pairs]


def stated_communities(rows, threshold, least):
    scores = scores_of(rows, rows)
    least = min(least, len(rows))
    near = []
    for i, row in enumerate(scores):
        members = [j for j in range(len(rows)) if row[j].item() >= threshold]
        if len(members) >= least:
            near.append(sorted(members, key=lambda j: (-row[j].item(), j != i, j)))
    taken, groups = set(), []
    for members in sorted(near, key=len, reverse=True):
        left = [j for j in members if j not in taken]
        if len(left) >= least:
            groups.append(left)
            taken |= set(left)
    return sorted(groups, key=len, reverse=True)


def assert_hits(found, wanted):
    assert [[hit["corpus_id"] for hit in hits] for hits in found] == [
        [hit["corpus_id"] for hit in hits] for hits in wanted
    ]
    for hits, others in zip(found, wanted, strict=True):
        assert [hit["score"] for hit in hits] == pytest.approx(
            [hit["score"] for hit in others], abs=1e-6, rel=1e-6
        )
        assert all(type(hit["corpus_id"]) is int and type(hit["score"]) is float for hit in hits)
        assert all(list(hit) == ["corpus_id", "score"] for hit in hits)


def assert_pairs(found, wanted):
    assert [pair[1:] for pair in found] == [pair[1:] for pair in wanted]
    assert [pair[0] for pair in found] == pytest.approx([pair[0] for pair in wanted], abs=1e-6, rel=1e-6)
    assert all([type(part) for part in pair] == [float, int, int] for pair in found)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("top_k", [1, 5, 40, 50])
def test_search(top_k, form, rng):
    queries, corpus = grid_rows(rng, 6, 40, 9)
    found = semantic_search(FORMS[form](queries), FORMS[form](corpus), top_k=top_k)
    assert_hits(found, stated_search(queries, corpus, top_k))


@pytest.mark.parametrize("chunks", [{}, {"query_chunk_size": 2, "corpus_chunk_size": 7}])
def test_search_with_ties(chunks, rng):
    queries, corpus = tie_groups(rng, 5, 60, 8)
    assert_hits(semantic_search(queries, corpus, **chunks, top_k=20), stated_search(queries, corpus, 20))


def of_the_library(name):
    """A function as sentence-transformers has it, by its name and the name of its module."""

    def score(a, b):
        raise AssertionError("the score function is not called")

    score.__name__, score.__module__ = name, "sentence_transformers.util.similarity"
    return score


@pytest.mark.parametrize(
    ("function", "metric"),
    [
        (None, "cosine"),
        ("cosine", "cosine"),
        ("dot", "dot"),
        (of_the_library("cos_sim"), "cosine"),
        (of_the_library("pytorch_cos_sim"), "cosine"),
        (of_the_library("dot_score"), "dot"),
    ],
)
def test_score_functions(function, metric, rng):
    queries, corpus = normal(rng, 4, 6), normal(rng, 30, 6)
    found = semantic_search(queries, corpus, score_function=function)
    assert_hits(found, stated_search(queries, corpus, 10, metric))
    pairs = paraphrase_mining_embeddings(corpus, top_k=3, score_function=function)
    assert_pairs(pairs, stated_mining(corpus, 3, 10**6, metric))


def cos_sim(a, b):
    raise AssertionError("a function of another library, whatever its name, is not called")


@pytest.mark.parametrize("function", ["l1", of_the_library("manhattan_sim"), cos_sim, lambda a, b: a @ b.T])
def test_other_score_functions_are_refused(function, rng):
    rows = normal(rng, 4, 6)
    for ask in (lambda: semantic_search(rows, rows, score_function=function),
                lambda: paraphrase_mining_embeddings(rows, score_function=function)):  # fmt: skip
        with pytest.raises(ValueError, match="score_function must be cos_sim or dot_score"):
            ask()


def test_one_query_and_no_rows(rng):
    queries, corpus = normal(rng, 3, 5), normal(rng, 20, 5)
    assert semantic_search(queries[0], corpus) == semantic_search(queries[:1], corpus)
    assert semantic_search(torch.from_numpy(queries[0]), corpus) == semantic_search(queries[:1], corpus)
    assert semantic_search(queries[:0], corpus) == []
    assert semantic_search(queries, corpus[:0]) == [[], [], []]
    assert semantic_search(queries, corpus, top_k=0) == [[], [], []]


def test_an_index_or_a_gallery_as_corpus(tmp_path, rng):
    queries, corpus = normal(rng, 3, 5), normal(rng, 20, 5)
    wanted = semantic_search(queries, corpus)
    assert semantic_search(queries, idsim.Index(corpus)) == wanted
    assert semantic_search(queries, idsim.Gallery.from_arrays(tmp_path / "corpus", corpus)) == wanted
    by_product = semantic_search(queries, corpus, score_function="dot")
    assert semantic_search(queries, idsim.Index(corpus, metric="dot")) == by_product
    corpus[4] = np.nan
    skipping = semantic_search(queries, idsim.Index(corpus, nonfinite="skip"), top_k=20)
    assert [len(hits) for hits in skipping] == [19] * 3


def test_half_precision_tensors(rng):
    queries, corpus = (torch.from_numpy(normal(rng, n, 8)).bfloat16() for n in (3, 30))
    wanted = stated_search(queries.float().numpy(), corpus.float().numpy(), 4)
    assert_hits(semantic_search(queries, corpus, top_k=4), wanted)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("top_k", [1, 4, 100])
def test_mining(top_k, form, rng):
    rows = normal(rng, 50, 6)
    assert_pairs(
        paraphrase_mining_embeddings(FORMS[form](rows), top_k=top_k), stated_mining(rows, top_k, 10**6)
    )


@pytest.mark.parametrize("chunk", [1, 7, 60, 5000])
@pytest.mark.parametrize("max_pairs", [0, 1, 30, 200])
@pytest.mark.parametrize("make", [lambda rng: tie_groups(rng, 1, 60, 8)[1], lambda rng: normal(rng, 60, 8)])
def test_mining_in_any_chunks(make, max_pairs, chunk, rng):
    rows = make(rng)
    found = paraphrase_mining_embeddings(rows, query_chunk_size=chunk, max_pairs=max_pairs, top_k=6)
    assert len(found) == max_pairs
    assert_pairs(found, stated_mining(rows, 6, max_pairs))


def test_mining_of_few_rows(rng):
    rows = normal(rng, 2, 4)
    assert_pairs(paraphrase_mining_embeddings(rows), stated_mining(rows, 100, 10))
    assert paraphrase_mining_embeddings(rows[:1]) == []
    assert paraphrase_mining_embeddings(rows[:0]) == []


def test_planted_communities(rng):
    centres = unit(rng, 4, 64)
    sizes = (25, 12, 40, 9)
    member_of = np.repeat(np.arange(4), sizes)
    rows = np.concatenate([centres[member_of] + 0.01 * normal(rng, sum(sizes), 64), normal(rng, 60, 64)])
    order = rng.permutation(len(rows))
    found = community_detection(rows[order], threshold=0.9, min_community_size=10)
    wanted = [set(np.flatnonzero(order_in == group)) for group in (2, 0, 1)
              for order_in in [np.append(member_of, [-1] * 60)[order]]]  # fmt: skip
    assert [set(group) for group in found] == wanted
    assert found == stated_communities(rows[order], 0.9, 10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("least", [1, 4, 8, 1000])
@pytest.mark.parametrize("threshold", [-1.0, 0.55, 0.75, 1.5])
def test_communities_that_overlap(threshold, least, form, rng):
    rows = np.concatenate([normal(rng, 40, 3), tie_groups(rng, 1, 20, 3)[1]])
    found = community_detection(FORMS[form](rows), threshold, least)
    assert found == stated_communities(rows, threshold, least)
    assert all(type(row) is int for group in found for row in group)
    if threshold == 1.5:
        assert found == []


def test_a_central_row_stands_before_its_copies(rng):
    rows = np.repeat(unit(rng, 1, 8), 5, axis=0)
    assert community_detection(rows, 0.9, 2) == [[0, 1, 2, 3, 4]]
    # Row 0 has score 1 with row 1, but not quite its neighbours.
    angles = np.array([-1e-4, 0.0, 0.5])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert community_detection(rows, float(np.cos(0.50005)), 2) == [[1, 0, 2]]


def test_errors(rng):
    rows = normal(rng, 4, 6)
    with pytest.raises(ValueError, match="6 columns"):
        semantic_search(rows, rows[:, :3])
    bad = rows.copy()
    bad[2, 1] = np.inf
    for ask in (
        lambda: semantic_search(rows, bad),
        lambda: paraphrase_mining_embeddings(bad),
        lambda: community_detection(bad),
    ):
        with pytest.raises(ValueError, match="row 2 holds NaN or Inf"):
            ask()
    with pytest.raises(TypeError, match="sparse tensors are not read"):
        semantic_search(rows, torch.from_numpy(rows).to_sparse())
    with pytest.raises(ValueError, match="query_chunk_size must be 1 or more"):
        paraphrase_mining_embeddings(rows, query_chunk_size=0)
    with pytest.raises(ValueError, match="max_pairs 0 or more"):
        paraphrase_mining_embeddings(rows, max_pairs=-1)
    with pytest.raises(TypeError, match="int64"):
        semantic_search(rows.astype(int), rows)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device and PyTorch built for it")
def test_tensors_on_a_device(rng):
    queries, corpus = grid_rows(rng, 6, 200, 9)
    on_device = [torch.from_numpy(rows).cuda() for rows in (queries, corpus)]
    assert semantic_search(*on_device) == semantic_search(queries, corpus)
    assert semantic_search(torch.from_numpy(queries), on_device[1]) == semantic_search(queries, corpus)
    arguments = {"query_chunk_size": 64, "top_k": 5}
    pairs = paraphrase_mining_embeddings(on_device[1], **arguments)
    assert pairs == paraphrase_mining_embeddings(corpus, **arguments)
    assert community_detection(on_device[1]) == community_detection(corpus)
