"""The model of tile thresholds: an order of scales leaves the pairs' own thresholds as they are and spares warps."""

from __future__ import annotations

import sys

from bench.gpu.tile_hits import main, tile_hits


def test_order_spares_warps():
    unordered, ordered = (
        tile_hits(128, 0.37, ordered=ordered, rows=16_384, queries=16) for ordered in (False, True)
    )
    assert ordered.by_pair == unordered.by_pair > 0  # the same pairs in another order
    assert unordered.by_tile > 10 * unordered.by_pair
    assert ordered.by_pair <= ordered.by_tile < 3 * ordered.by_pair
    assert ordered.warps < unordered.warps / 3


def test_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tile_hits", "--dim", "64", "--threshold", "2"])
    main()
    assert capsys.readouterr().out.count("0.0%") == 2
