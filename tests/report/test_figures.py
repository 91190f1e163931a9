"""Figures show the numbers of the run: what is drawn is compared with summaries and tables."""

from __future__ import annotations

import json
import math
import shutil
from statistics import NormalDist

import numpy as np
import pytest

from idsim.report.data import open_run
from idsim.report.figure import below, count, named, power, share
from idsim.report.naming import identities
from idsim.report.plots import comparison, figures, left_out
from report.makers import HOSTILE, Sets, by_kind, drawn, line

OF_ONE = [
    "det",
    "score-distributions",
    "tail-lift",
    "leak-rate-by-threshold",
    "leak-rate-by-gallery-size",
    "exposure",
]


@pytest.fixture(scope="module")
def run(one):
    return open_run(one)


def test_the_figures_of_one_matcher(run):
    found = figures(run)
    assert [figure.name for figure in found] == OF_ONE
    assert {figure.matcher for figure in found} == {HOSTILE}
    assert {figure.variant for figure in found} == {None}
    assert dict(left_out(run)) == {
        "matchers": "there is one matcher only",
        "agreement": "there is one matcher only",
        "consensus": "there is one matcher only",
        "series": "there is one synthetic set only",
    }


def test_distributions(run, one):
    (axes,) = drawn(by_kind(figures(run), "score-distributions"))
    sets = Sets(one.parent)
    genuine, impostor = sets.own("holdout")
    expected = {
        "one person of the holdout": genuine,
        "different people of the holdout": impostor,
        "best match in training": sets.scores("synthetic", "training").max(axis=1),
        "best match in the holdout": sets.scores("synthetic", "holdout").max(axis=1),
    }
    steps = {patch.get_label(): patch.get_data() for patch in axes.patches if patch.get_label() in expected}
    assert set(steps) == set(expected)
    for name, scores in expected.items():
        shares, edges, _ = steps[name]
        wanted = np.histogram(scores, edges)[0] / len(scores)
        assert shares == pytest.approx(wanted, abs=1e-11), name
    assert axes.get_ylim()[0] > 1e-11
    assert axes.get_yscale() == "log"
    points = run.summary["operating_points"]
    verticals = {entry.get_label(): entry.get_xdata()[0] for entry in axes.lines}
    assert verticals == {"fpir=0.1 (primary)": points[0]["threshold"], "fmr=0.005": points[1]["threshold"]}
    caption = by_kind(figures(run), "score-distributions").caption
    assert f"n = {count(len(genuine))}, 80 persons" in caption
    assert f"n = {count(len(impostor))}" in caption
    assert "140 synthetic images" in caption


def test_error_trade_off(run, one):
    (axes,) = drawn(by_kind(figures(run), "det"))
    genuine, impostor = Sets(one.parent).own("holdout")
    known = {
        point["threshold"]: point for point in run.summary["calibration"]["analysis"]["separation"]["det"]
    }
    x, y = line(axes, "holdout")
    assert len(x) > 5
    normal = NormalDist()
    for threshold, point in known.items():
        rates = (impostor >= np.float32(threshold)).mean(), (genuine < np.float32(threshold)).mean()
        if not 0 < rates[1] < 1 or not 0 < rates[0] < 1:
            continue
        place = int(np.argmin(np.abs(x - normal.inv_cdf(point["fmr"]["value"]))))
        # Listed one by one, so exact.
        assert x[place] == pytest.approx(normal.inv_cdf(rates[0]), abs=1e-6)
        assert y[place] == pytest.approx(normal.inv_cdf(rates[1]), abs=1e-6)
    primary = run.summary["operating_points"][0]
    mark = line(axes, "fpir=0.1 (primary)")
    assert mark[0] == pytest.approx([normal.inv_cdf(primary["fmr"]["rate"])])
    assert mark[1] == pytest.approx([normal.inv_cdf(primary["fnmr"]["rate"])])
    for axis in (axes.xaxis, axes.yaxis):
        for place, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True):
            rate = normal.cdf(place)
            assert label.get_text() == share(float(f"{rate:.6g}"))


def test_leak_rates_along_the_threshold(run):
    (axes,) = drawn(by_kind(figures(run), "leak-rate-by-threshold"))
    curves = run.sets[0].curves["leak_rate_by_threshold"]
    for name, words in (("training", "against training"), ("holdout", "against the holdout")):
        x, y = line(axes, words)
        assert x == pytest.approx(curves["thresholds"])
        assert np.nan_to_num(y) == pytest.approx(curves[name]["rate"])
        bands = [np.asarray(found.get_paths()[0].vertices) for found in axes.collections]
        high = max(curves[name]["high"])
        assert any(band[:, 1].max() == pytest.approx(high) for band in bands)
    assert np.nan_to_num(line(axes, "FPIR: people of the holdout")[1]) == pytest.approx(curves["fpir"])
    floor = axes.get_ylim()[0]
    assert 0 < floor < 1 / 140
    assert "80 persons each" in by_kind(figures(run), "leak-rate-by-threshold").caption


def test_galleries_that_were_matched_are_named(uneven):
    caption = by_kind(figures(open_run(uneven)), "leak-rate-by-threshold").caption
    assert "60 persons each (means over 100 matched galleries)" in caption


def test_leak_rates_by_size(run):
    (axes,) = drawn(by_kind(figures(run), "leak-rate-by-gallery-size"))
    for name, words in (("training", "against training"), ("holdout", "against the holdout")):
        points = run.summary["analysis"]["by_gallery_size"][name]["leak_rate"]["rates"]
        x, y = line(axes, words)
        assert x.tolist() == [point["persons"] for point in points]
        assert y == pytest.approx([point["rate"] for point in points])
        assert y[-1] == pytest.approx(run.summary["operating_points"][0][f"leak_rate_{name}"]["rate"])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_tail_lift(run, one):
    (axes,) = drawn(by_kind(figures(run), "tail-lift"))
    x, y = line(axes, "training / holdout")
    sets = Sets(one.parent)
    scores = [sets.scores("synthetic", name) for name in ("training", "holdout")]
    expected = [np.divide(*((side >= np.float32(threshold)).mean() for side in scores)) for threshold in x]
    assert y == pytest.approx(expected)
    assert len(x) > 10
    assert (np.diff(x) > 0).all()
    assert line(axes, "1: no leak")[1].tolist() == [1.0, 1.0]


def test_exposure(run, one):
    figure = by_kind(figures(run), "exposure")
    (axes,) = drawn(figure)
    threshold = run.summary["operating_points"][0]["threshold"]
    sets = Sets(one.parent)
    for name, words in (("training", "training"), ("holdout", "the holdout")):
        reached = np.sort(sets.clusters_per_person(name, threshold))[::-1]
        exposed = int((reached > 0).sum())
        x, y = line(axes, f"{words}: {exposed} persons")
        assert x[-1] == pytest.approx(exposed / 80)
        for rank in range(exposed):
            step = np.searchsorted(x, (rank + 0.5) / 80)
            assert y[step] == reached[rank]
        if name == "training":
            table = run.sets[0].persons(["clusters"])["clusters"]
            assert sorted(table, reverse=True) == reached.tolist()
    excess = run.summary["analysis"]["exposure"]["excess"]
    assert f"{100 * excess['share']:.2f} %" in figure.caption
    assert "80 of training, 80 of the holdout" in figure.caption


def test_exposure_of_hubs(one, tmp_path):
    place = shutil.copytree(one, tmp_path / "copy", ignore=shutil.ignore_patterns("compare"))
    curves = json.loads((place / "curves.json").read_bytes())
    curves["clusters_per_person"] = {"training": [[0, 78], [3, 1], [250, 1]], "holdout": [[0, 79], [1, 1]]}
    (place / "curves.json").write_text(json.dumps(curves))
    (axes,) = drawn(by_kind(figures(open_run(place)), "exposure"))
    assert line(axes, "training: 2 persons")[1].tolist() == [250, 250, 3]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1", "10", "100"]
    curves["clusters_per_person"] = {"training": [[0, 80]], "holdout": [[0, 80]]}
    (place / "curves.json").write_text(json.dumps(curves))
    reason = "no synthetic cluster reaches anybody at the primary operating point"
    assert dict(left_out(open_run(place)))["exposure"] == reason


def test_matchers_agreement_and_consensus(several):
    run = open_run(several)
    found = figures(run)
    assert [figure.name for figure in found][:5] == [
        "matchers", "agreement", "consensus", "det-first", "det-second-one"
    ]  # fmt: skip
    assert {figure.matcher for figure in found[3:]} == {"first", "second_one"}
    (axes,) = drawn(by_kind(found, "matchers"))
    intervals = [
        entry for entry in axes.lines if len(set(entry.get_ydata())) == 1 and len(entry.get_xdata()) == 2
    ]
    for row, entry in zip(
        run.summary["rows"], [item for item in intervals if item.get_xdata()[0] != 0], strict=True
    ):
        excess = row["operating_points"][0]["excess_leak_rate"]
        assert list(entry.get_xdata()) == [excess["low"], excess["high"]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second_one"]
    top, dots = drawn(by_kind(found, "agreement"))
    flagged = run.curves["flagged"][""]
    heights = [[bar.get_height() for bar in bars] for bars in top.containers]
    columns = [("first", "second_one"), ("first",), ("second_one",)]
    numbers = {
        side: {tuple(row["matchers"]): row["pairs"] for row in flagged[side]}
        for side in ("training", "holdout")
    }
    columns = [key for key in columns if any(key in side for side in numbers.values())]
    columns.sort(key=lambda key: (-len(key), -numbers["training"].get(key, 0), key))
    assert heights == [[side.get(key, 0) for key in columns] for side in numbers.values()]
    assert [label.get_text() for label in dots.get_yticklabels()] == ["first", "second_one"]
    (axes,) = drawn(by_kind(found, "consensus"))
    levels = run.summary["consensus"]["levels"]
    for key, words in (("leak_rate_training", "against training"), ("excess_leak_rate", "excess")):
        assert line(axes, words)[1].tolist() == [levels[0][key]["rate"]]
    assert len(axes.get_xticks()) == len(levels) == 2


def test_a_series_along_psi(series):
    run = open_run(series)
    found = figures(run)
    (axes,) = drawn(by_kind(found, "series"))
    for generator in ("early-draw", "late-draw"):
        x, y = line(axes, generator)
        rows = [
            row
            for row in run.summary["series"]
            if row["name"].startswith(generator) and row["operating_points"]
        ]
        rates = {
            row["synthetic"]["generator"]["psi"]: row["operating_points"][0]["excess_leak_rate"]["rate"]
            for row in rows
        }
        assert y.tolist() == [rates[psi] for psi in sorted(rates)]
        assert np.round(x, 1).tolist() == sorted(rates) == [0.5, 1.0]
    assert "(n = 4)" in by_kind(found, "series").caption
    assert "2 could not be measured" in by_kind(found, "series").caption
    names = [figure.name for figure in found]
    assert len(set(names)) == len(names)
    assert "leak-rate-by-threshold-late-draw-psi0-5" in names
    reasons = dict(left_out(run))
    assert reasons["det"] == "no person has two images"
    assert reasons["exposure-early-draw-psi0"] == "no face was found"
    assert {figure.variant for figure in found if figure.kind == "tail-lift"} == {
        "early-draw-psi1", "early-draw-psi0.5", "late-draw-psi1", "late-draw-psi0.5"
    }  # fmt: skip


def test_runs_compared(one, several, series):
    found = [open_run(place) for place in (one, several, series)]
    (figure,) = comparison(found)
    (axes,) = drawn(figure)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    # Two of the runs are called the same.
    assert labels[:3] == ["1: run", "2: two: first", "2: two: second_one"]
    assert len(labels) == 9
    assert [text.get_text() for text in axes.texts] == [" not measured"] * 2
    assert "the primary point of each run" in figure.caption
    (axes,) = drawn(comparison(found[:2])[0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["run", "two: first", "two: second_one"]
    with pytest.raises(ValueError, match="needs two runs or more, not 1"):
        comparison(found[:1])


def test_scores_of_pairs_have_no_trade_off_but_distributions(scored):
    run = open_run(scored)
    kinds = [figure.kind for figure in figures(run)]
    assert kinds == OF_ONE[1:]
    assert "needs embeddings" in dict(left_out(run))["det"]
    distributions = run.sets[0].curves["score_distributions"]
    assert distributions["impostor"]["sampled"] == 0
    assert sum(distributions["impostor"]["counts"]) == distributions["impostor"]["comparisons"]
    for figure in figures(run):
        drawn(figure)


def test_a_run_without_curves_says_so(one, tmp_path):
    place = shutil.copytree(one, tmp_path / "copy", ignore=shutil.ignore_patterns("compare"))
    (place / "curves.json").unlink()
    reasons = dict(left_out(open_run(place)))
    for name in ("score-distributions", "leak-rate-by-threshold", "exposure"):
        assert reasons[name] == "the run has no curves.json"
    assert [figure.kind for figure in figures(open_run(place))] == [
        "det",
        "tail-lift",
        "leak-rate-by-gallery-size",
    ]


def test_a_matcher_that_misses_nothing_has_no_trade_off(one, tmp_path):
    place = shutil.copytree(one, tmp_path / "copy", ignore=shutil.ignore_patterns("compare"))
    summary = json.loads((place / "summary.json").read_bytes())
    points = summary["calibration"]["analysis"]["separation"]["det"]
    for point in points:
        point["fnmr"] = point["low"] = 0.0
    (place / "summary.json").write_text(json.dumps(summary))
    assert dict(left_out(open_run(place)))["det"] == "no pair of a person is missed: there is no trade-off"
    del points[2:]
    (place / "summary.json").write_text(json.dumps(summary))
    assert dict(left_out(open_run(place)))["det"] == "fewer than two points of the trade-off are known"


def test_names_are_unique_and_fit_for_files():
    owners = [("A/b", "x"), ("a b", "x"), ("../..", ""), ("日本", "ψ=1"), ("A" * 99, "x")]
    endings = [identity.ending for identity in identities(owners, True, True)]
    assert endings == ["-a-b-x", "-a-b-x-2", "-unnamed", "-unnamed-1", f"-{'a' * 32}-x"]
    assert [identity.ending for identity in identities(owners[:2], False, False)] == ["", "-2"]


def test_words_of_axes():
    assert [power(value) for value in (0, 1e-5, 0.01, 2.5e-7, 300)] == ["0", "10⁻⁵", "0.01", "2·10⁻⁷", "300"]
    assert [share(value) for value in (0, 0.5, 1e-4, 1e-6, -0.02)] == [
        "0 %",
        "50 %",
        "0.01 %",
        "10⁻⁶",
        "−2 %",
    ]
    assert count(1234567) == "1\N{NO-BREAK SPACE}234\N{NO-BREAK SPACE}567"
    assert named("x" * 40) == f"{'x' * 20}…{'x' * 7}"
    assert named("a\x1b\u202eb") == "a��b"
    assert below([None, 0.0, 0.3], 0.1) == [0.1, 0.1, 0.3]
    assert math.isclose(sum(below([0.2], 0.1)), 0.2)
