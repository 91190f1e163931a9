"""The curves of a run against what NumPy computes from the vectors."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from idsim.audit.rates.intervals import wilson
from idsim.audit.run import scan
from idsim.audit.significance.votes import pair_patterns
from idsim.report.data import open_run
from report.makers import Sets, write_run


def curves(folder):
    return json.loads((folder / "curves.json").read_bytes())


def summary(folder):
    return json.loads((folder / "summary.json").read_bytes())


def test_distributions_count_every_score(one):
    found, sets = curves(one)["score_distributions"], Sets(one.parent)
    edges = np.asarray(found["edges"])
    genuine, impostor = sets.own("holdout")
    expected = {
        "genuine": genuine,
        "impostor": impostor,
        "best_in_training": sets.scores("synthetic", "training").max(axis=1),
        "best_in_holdout": sets.scores("synthetic", "holdout").max(axis=1),
    }
    for name, scores in expected.items():
        assert found[name]["counts"] == np.histogram(scores, edges)[0].tolist(), name
        assert sum(found[name]["counts"]) == len(scores)
    assert found["impostor"]["listed_from"] is None
    assert found["genuine"]["persons"] == 80
    widths = np.diff(edges)
    assert np.allclose(widths, widths[0])
    assert 40 <= len(widths) <= 90


def test_scores_below_the_listed_ones_are_estimated(tmp_path, monkeypatch):
    for name, value in (("ALL_PAIRS", 0), ("LISTED", 3000)):
        monkeypatch.setattr(f"idsim.audit.thresholds.levels.{name}", value)
    config = write_run(tmp_path / "data")
    config.write_text(config.read_text().replace("1e-8", "0.05"))
    folder = scan(config).folder
    found = curves(folder)["score_distributions"]
    impostor, edges = found["impostor"], np.asarray(found["edges"])
    expected = np.histogram(Sets(folder.parent).own("holdout")[1], edges)[0]
    assert sum(impostor["counts"]) == impostor["comparisons"] == expected.sum()
    listed = edges[:-1] >= impostor["listed_from"]
    assert 0 < listed.sum() < len(listed)
    assert np.asarray(impostor["counts"])[listed].tolist() == expected[listed].tolist()
    assert np.abs(np.asarray(impostor["counts"]) - expected).max() < 0.01 * expected.sum()
    rates = curves(folder)["leak_rate_by_threshold"]
    assert rates["thresholds"][0] >= impostor["listed_from"] - 1e-6


def two_way_variance(sets, gallery, threshold):
    """Variance of a leak rate by clusters, plus by persons, less by cells, from the definitions."""
    clusters, persons = sets.labels["synthetic"], sets.labels[gallery].max() + 1
    total = clusters.max() + 1
    hits = sets.hits(gallery, threshold)
    per_image = np.bincount([image for image, _ in hits], minlength=len(clusters))
    cells = np.zeros((total, persons))
    for image, person in hits:
        weight = 1 / (clusters == clusters[image]).sum()
        cells[clusters[image], person] += weight / per_image[image] / total
    by_cluster = (cells.sum(1) ** 2).sum() - cells.sum() ** 2 / total
    by_person = (cells.sum(0) ** 2).sum() - cells.sum() ** 2 / persons
    return max(by_cluster + by_person - (cells**2).sum(), by_cluster, by_person)


def test_leak_rates_and_bands_along_the_threshold(one):
    found, sets = curves(one)["leak_rate_by_threshold"], Sets(one.parent)
    thresholds = np.asarray(found["thresholds"])
    assert (np.diff(thresholds) > 0).all()
    assert found["draws"] == 1
    assert (found["images"], found["clusters"], found["persons"]) == (140, 70, 80)
    limited = 0
    for name in ("training", "holdout"):
        best = sets.scores("synthetic", name).max(axis=1)
        for place in range(0, len(thresholds), 4):
            # Thresholds lie on float32 scores at either end only: anywhere else no score is near.
            rate = (best >= np.float32(thresholds[place])).mean()
            assert found[name]["rate"][place] == pytest.approx(rate, abs=1e-9)
            variance = two_way_variance(sets, name, thresholds[place])
            plain = rate * (1 - rate)
            effective = min(70, plain / variance) if variance and plain else 70
            limited += effective < 70
            band = found[name]["low"][place], found[name]["high"][place]
            assert band == pytest.approx(wilson(rate, effective, 0.95), abs=1e-8)
    assert limited >= 2
    holdout = sets.scores("holdout", "holdout")
    holdout[sets.labels["holdout"][:, None] == sets.labels["holdout"][None, :]] = -2
    fpir = [(holdout.max(axis=1) >= np.float32(threshold)).mean() for threshold in thresholds]
    assert found["fpir"] == pytest.approx(fpir, abs=1e-9)


@pytest.mark.parametrize("which", ["one", "uneven"])
def test_the_curve_has_the_rates_of_the_operating_points(which, request):
    folder = request.getfixturevalue(which)
    found = curves(folder)["leak_rate_by_threshold"]
    assert found["draws"] == {"one": 1, "uneven": 100}[which]
    checked = 0
    for point in summary(folder)["operating_points"]:
        if point["refused"]:
            continue
        place = int(np.argmin(np.abs(np.asarray(found["thresholds"]) - point["threshold"])))
        for name in ("training", "holdout"):
            rate = point[f"leak_rate_{name}"]
            assert found[name]["rate"][place] == pytest.approx(rate["rate"], abs=1e-9)
            # The table's variance is a bootstrap of 200 replicates over all draws.
            assert found[name]["low"][place] == pytest.approx(rate["low"], rel=0.2, abs=0.01)
            assert found[name]["high"][place] == pytest.approx(rate["high"], rel=0.2, abs=0.01)
            checked += 1
    assert checked == 4


def test_clusters_per_person(one):
    found, sets = curves(one)["clusters_per_person"], Sets(one.parent)
    threshold = summary(one)["operating_points"][0]["threshold"]
    for name in ("training", "holdout"):
        counts = np.bincount(sets.clusters_per_person(name, threshold))
        expected = [[clusters, int(persons)] for clusters, persons in enumerate(counts) if persons]
        assert found[name] == expected
    assert sum(clusters > 0 for clusters, _ in found["training"]) > 0


def test_matchers_that_flag_the_same_pairs(several):
    found = curves(several)["flagged"][""]
    run = open_run(several)
    assert found["matchers"] == ["first", "second_one"]
    for name in ("training", "holdout"):
        hits = {}
        for matcher, end in (("first", ""), ("second_one", "-b")):
            threshold = run.matchers[found["matchers"].index(matcher)].summary["operating_points"][0][
                "threshold"
            ]
            hits[matcher] = Sets(several.parent, end).hits(name, threshold)
        first, second = hits["first"], hits["second_one"]
        expected = {
            ("first",): len(first - second),
            ("second_one",): len(second - first),
            ("first", "second_one"): len(first & second),
        }
        entries = {tuple(row["matchers"]): row["pairs"] for row in found[name]}
        assert entries == {key: count for key, count in expected.items() if count}
        if name == "training":
            assert entries["first", "second_one"] > 5


def test_no_matcher_flags_anything():
    from idsim.audit.rates.resampling import Hits

    none = Hits(np.empty(0, np.int64), np.empty(0, np.int64))
    some = Hits(np.array([0, 1]), np.array([2, 2]))
    assert pair_patterns([none, none], 3) == []
    assert pair_patterns([none, some], 3) == [([1], 2)]


def test_curves_have_the_same_bytes_however_often_a_scan_is_finished(several, tmp_path):
    folder = shutil.copytree(several.parent, tmp_path / "data") / several.name
    names = [path.relative_to(folder) for path in folder.rglob("curves.json")]
    assert sorted(map(str, names)) == [
        "curves.json", "matchers/first/curves.json", "matchers/second_one/curves.json"
    ]  # fmt: skip
    before = {name: (folder / name).read_bytes() for name in names}
    for path in [*folder.rglob("summary.json"), *folder.rglob("curves.json")]:
        path.unlink()
    scan(tmp_path / "data" / "scan.toml")
    assert {name: (folder / name).read_bytes() for name in names} == before


def test_every_set_of_a_series_has_curves(series):
    for row in summary(series)["series"]:
        path = series / row["folder"] / "curves.json"
        assert path.exists() == (row["synthetic"]["with_face"] > 0)
    found = curves(series / "sets" / "late-draw-psi1")
    assert found["score_distributions"]["metric"] == "l2"
    assert found["score_distributions"]["genuine"] is None
    rates = found["leak_rate_by_threshold"]
    assert (np.diff(rates["thresholds"]) < 0).all()
    assert (np.diff(rates["training"]["rate"]) <= 1e-12).all()
