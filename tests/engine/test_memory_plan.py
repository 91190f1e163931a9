"""Plans of a device's memory: they need no device, and fit the budget."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import _core
from support.compare import assert_same

FORMS = ("device_rows", "host_rows", "host_codes", "index", "host_index")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("k", [0, 1, 10, 1000, 100_000])
def test_plans_fit_their_budget(form, k):
    for queries in (1, 31, 32, 100, 1000, 65_536):
        for rows in (1, 1000, 10_000_000, 1_000_000_000):
            for budget in (1 << 22, 1 << 26, 1 << 30, 1 << 36):
                plan = _core.plan_search(queries, 2048, rows, 2048, 512, k, form, budget)
                assert 0 <= plan["query_chunk"] <= queries
                assert 1 <= plan["part_rows"] <= rows
                if plan["query_chunk"]:
                    assert plan["total"] <= budget
                else:
                    assert plan["least"] > budget
                more = _core.plan_search(queries, 2048, rows, 2048, 512, k, form, 2 * budget)
                assert more["query_chunk"] >= plan["query_chunk"] or more["part_rows"] > plan["part_rows"]


def test_the_least_budget_is_enough():
    plan = _core.plan_search(1000, 2048, 1_000_000, 2048, 512, 10, "index", 1 << 20)
    assert plan["query_chunk"] == 0
    assert (
        _core.plan_search(1000, 2048, 1_000_000, 2048, 512, 10, "index", plan["least"])["query_chunk"] == 32
    )


def test_plan_of_an_index():
    plan = _core.plan_index(1_000_000, 500, 2000, 2_542_000_000)
    assert plan == {"code_bytes": 1_000_000 * (512 + 30), "row_bytes": 2_000_000_000, "rows_fit": True}
    assert not _core.plan_index(1_000_000, 500, 2000, 2_541_999_999)["rows_fit"]


def test_forms_of_galleries(tmp_path):
    rows = np.random.default_rng(0).standard_normal((300, 32)).astype(np.float16)
    stored = idsim.Gallery.from_arrays(tmp_path / "gallery", rows)

    def plan(gallery):
        return idsim.memory_plan(rows, gallery, 3)

    assert plan((300, 32)).form == plan(rows).form == plan(stored).form == "host_rows"
    assert plan(idsim.Index(rows, device="cpu")).form == "host_codes"
    stored.prepare()
    assert plan(stored).form == "host_codes"
    with pytest.raises(ValueError, match="gallery must have 32 columns"):
        plan((300, 33))


def test_the_table():
    plan = idsim.memory_plan((4096, 512), (10_000_000, 512), 10, memory_budget=1 << 30)
    text = str(plan)
    assert "10,000,000 rows of 512: rows from the host or from files, sent and coded in parts" in text
    assert "of a budget of 1.0 GiB" in text
    assert plan.total <= plan.budget
    assert plan.passes * plan.query_chunk >= 4096


@pytest.mark.gpu
@pytest.mark.skipif(
    not _core.build_info()["cuda_emulated"], reason="memory is taken from the emulated device"
)
def test_a_search_keeps_to_its_plan(monkeypatch, tmp_path):
    from idsim import feeding

    rng = np.random.default_rng(1)
    queries, rows = (rng.standard_normal((n, 40), dtype=np.float32) for n in (200, 2000))
    idsim.Gallery.from_arrays(tmp_path / "gallery", rows).prepare()
    expected = idsim.search(queries, rows, 5, device="cpu")
    monkeypatch.setattr(feeding, "_LEAST_CHUNK", 1 << 30)  # no second try with fewer queries
    for gallery in (rows, idsim.Index(rows, device="cpu"), idsim.Gallery.open(tmp_path / "gallery")):
        plan = idsim.memory_plan(queries, gallery, 5, memory_budget=9_000_000)
        assert 0 < plan.query_chunk < 200
        # Small change: counters, and room that allocations are rounded up to.
        monkeypatch.setenv("IDSIM_EMULATED_MEMORY", str(plan.total + 20_000))
        result = idsim.search(queries, gallery, 5, device="cuda", memory_budget=9_000_000)
        monkeypatch.delenv("IDSIM_EMULATED_MEMORY")
        assert_same(result, expected)
