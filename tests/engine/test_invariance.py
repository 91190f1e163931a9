"""One sha256 for every way to ask the same question."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import idsim
from idsim import reference
from idsim.topk import TopKScan
from support.compare import digest
from support.data import ADVERSARIAL

K = 9
THREADS = [1, 2, 3, 8]
BATCHES = [1, 7, None]
SHARDS = [1, 2, 3, 7, 64]


def make(metric):
    rng = np.random.default_rng(3)
    queries, gallery = ADVERSARIAL["mixed"](rng, 15, 1711, 72)
    gallery[::13] = queries[0]
    return queries, gallery, digest(*reference.search(queries, gallery, K, metric=metric))


def cuts(n, shards):
    """Return uneven part borders, empty parts included."""
    inner = np.random.default_rng(shards).integers(0, n + 1, shards - 1)
    return itertools.pairwise([0, *sorted(inner.tolist()), n])


def in_batches(queries, batch, ask):
    step = batch or len(queries)
    parts = [ask(queries[i : i + step]) for i in range(0, len(queries), step)]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def fed(queries, gallery, shards, metric, threads, order=1):
    scan = TopKScan(queries, K, metric=metric, threads=threads)
    for low, high in list(cuts(len(gallery), shards))[::order]:
        scan.feed(gallery[low:high], low)
    return scan.finish()


def merged(queries, gallery, shards, metric, threads):
    parts = []
    for low, high in cuts(len(gallery), shards):
        scores, ids = idsim.search(queries, gallery[low:high], K, metric=metric, threads=threads)
        parts.append(idsim.TopK(scores, np.where(ids < 0, -1, ids + low)))
    return idsim.merge_topk(parts[::-1], metric=metric)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_one_digest(isa, metric, threads):
    queries, gallery, expected = make(metric)
    index = idsim.Index(gallery, metric=metric, threads=threads)
    options = {"metric": metric, "threads": threads}
    for batch in BATCHES:
        ways = {
            "one-shot": partial(idsim.search, gallery=gallery, k=K, **options),
            "prepared": partial(index.search, k=K, threads=threads),
            "index as gallery": partial(idsim.search, gallery=index, k=K, **options),
        }
        for shards in SHARDS:
            sharded = {"gallery": gallery, "shards": shards, **options}
            ways[f"fed in {shards}"] = partial(fed, **sharded)
            ways[f"fed back to front in {shards}"] = partial(fed, **sharded, order=-1)
            ways[f"merged from {shards}"] = partial(merged, **sharded)
        for name, ask in ways.items():
            found = digest(*in_batches(queries, batch, ask))
            assert found == expected, f"{name}, batch {batch}"


def test_every_instruction_set_is_there():
    """The tests above must not pass because only one instruction set was compiled."""
    from idsim import _core

    names = list(_core.available_isas())
    assert names[0] == "portable"
    assert len(names) == len(set(names))
    flags = cpu_flags()
    if {"avx2", "fma"} <= flags:
        assert "avx2" in names
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
        assert "avx512" in names
    if "avx512_vnni" in flags and "avx512" in names:
        assert "vnni" in names
    if "amx" in names:  # the system may refuse it
        assert {"amx_tile", "amx_int8"} <= flags
    with pytest.raises(ValueError, match="sse9"):
        _core.set_isa("sse9")


def cpu_flags():
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def test_memory_budget_changes_nothing(isa):
    queries, gallery, expected = make("cosine")
    for budget in (1 << 20, 1 << 22, 1 << 30):
        assert digest(*idsim.search(queries, gallery, K, memory_budget=budget)) == expected


def test_gallery_on_disk(isa, tmp_path):
    """The same bytes when the rows come from files, in one shard or several, prepared or not."""
    for metric in ("cosine", "dot", "l2"):
        queries, gallery, expected = make(metric)
        for shard_rows in (64, 500, 10_000):
            path = tmp_path / f"{metric}-{shard_rows}"
            opened = idsim.Gallery.from_arrays(path, gallery, shard_rows=shard_rows)
            for batch in BATCHES:
                ways = {
                    "Gallery.search": partial(opened.search, k=K, metric=metric),
                    "search": partial(idsim.search, gallery=opened, k=K, metric=metric),
                }
                for name, ask in ways.items():
                    found = digest(*in_batches(queries, batch, ask))
                    assert found == expected, f"{name} {metric} {shard_rows} {batch}"
