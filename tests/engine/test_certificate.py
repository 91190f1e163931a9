"""The certificate of a search: what was decided by bounds, what by scores, and the final thresholds."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import reference
from support.compare import assert_same, same_bytes
from support.data import ADVERSARIAL, grid_rows

METRICS = ["cosine", "dot", "l2"]


def test_none_unless_asked_for(rng):
    queries, gallery = grid_rows(rng, 3, 50, 8)
    assert idsim.search(queries, gallery, 2).certificate is None
    assert idsim.Index(gallery).search(queries, 2).certificate is None


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("q", [1, 8, 9, 40])
def test_contents(isa, rng, metric, q):
    queries, gallery = grid_rows(rng, q, 9000, 40)
    plain = idsim.search(queries, gallery, 7, metric=metric)
    index = idsim.Index(gallery, metric=metric)
    for found in (
        idsim.search(queries, gallery, 7, metric=metric, certificate=True),
        index.search(queries, 7, certificate=True),
        idsim.search(queries, gallery, 7, metric=metric, certificate=True, memory_budget=200_000),
    ):
        assert_same(found, plain)
        certificate = found.certificate
        assert certificate.pairs == q * 9000
        assert q * 7 <= certificate.rescored <= certificate.pairs
        assert 0 <= certificate.candidates <= certificate.pairs
        assert certificate.skipped_rows == 0
        assert same_bytes(certificate.reach, plain.scores[:, -1])


def test_the_filter_rejects_most_pairs(isa, rng):
    """On ordinary data the canonical score decides few pairs; a filter that passes all is no filter."""
    queries, gallery = ADVERSARIAL["random"](rng, 64, 20_000, 256)
    certificate = idsim.Index(gallery).search(queries, 10, certificate=True).certificate
    assert certificate.rescored < 0.05 * certificate.pairs


def test_reach_where_fewer_rows_are_found(isa, rng):
    queries, gallery = grid_rows(rng, 4, 5, 8)
    short = idsim.search(queries, gallery, 9, certificate=True)
    assert (short.certificate.reach == -np.inf).all()
    limited = idsim.search(queries, gallery, 9, threshold=0.25, certificate=True)
    assert (limited.certificate.reach == np.float32(0.25)).all()
    far = idsim.search(queries, gallery, 9, metric="l2", certificate=True)
    assert (far.certificate.reach == np.inf).all()


def test_skipped_rows_are_counted(isa, rng):
    queries, gallery = grid_rows(rng, 70, 3000, 8)
    gallery[::100, 3] = np.nan
    expected = reference.search(queries, gallery, 3, nonfinite="skip")
    found = idsim.search(queries, gallery, 3, nonfinite="skip", certificate=True, threads=3)
    assert_same(found, expected)
    assert found.certificate.skipped_rows == 30
    chunked = idsim.search(queries, gallery, 3, nonfinite="skip", certificate=True, memory_budget=32 * 1024)
    assert_same(chunked, expected)
    assert chunked.certificate.skipped_rows == 30
