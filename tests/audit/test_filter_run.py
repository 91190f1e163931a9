"""``idsim filter`` over finished runs: lists, reasons, numbers before and after, and what is refused."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from audit.score_makers import PAIRS, config_text, rows_of, write_rows, write_sets
from audit.test_scan_drawn import MODEL, SERIES, describe, sets  # noqa: F401 - a fixture
from audit.test_scan_pictures import GridMatcher, use
from audit.test_several import made_up, small_shards, two_matchers  # noqa: F401 - fixtures
from idsim.audit.proving.made_up import Population, make_population, write_population
from idsim.audit.run import scan
from idsim.cli.main import app
from idsim.sources import open_images

POPULATION = Population(persons=120, clusters=90, leaks=18, dim=48)


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def invoke(*arguments):
    done = CliRunner().invoke(app, ["filter", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def cleaned(run, output, *arguments):
    return json.loads(invoke(run, "-o", output, *arguments, "--json"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filter") / "data"
    config = write_population(make_population(POPULATION), folder)
    text = (
        config.read_text().replace("fpir = [0.01]", "fpir = [0.05]").replace("fmr = [1e-5]", "fmr = [1e-3]")
    )
    config.write_text(text + "thresholds = [0.99999]\n[statistics]\nbootstrap = 200\npermutations = 199\n")
    return scan(config).folder


def test_planted_leaks_go_and_the_reasons_are_listed(run, tmp_path):
    content = cleaned(run, tmp_path / "out")
    made = make_population(POPULATION)
    (entry,) = content["sets"]
    dropped = read_rows(tmp_path / "out" / "dropped.csv")
    clusters = {row["label"] for row in dropped}
    leaked = {f"synthetic-{cluster}" for cluster in made.leaked}
    assert len(clusters & leaked) >= 17
    assert len(clusters - leaked) <= 10  # 5 % of searches match by chance
    kept = (tmp_path / "out" / "kept.txt").read_text().splitlines()
    assert sorted(map(int, kept + [row["image"] for row in dropped])) == list(range(180))
    assert [row["image"] for row in read_rows(tmp_path / "out" / "kept.csv")] == kept
    reaching = [row for row in dropped if row["reason"] == "reaches a training person"]
    threshold = entry["matchers"][0]["threshold"]
    scores = made.vectors["synthetic"] @ made.vectors["training"].T
    for row in reaching:
        best = scores[int(row["image"])]
        assert float(row["score"]) == pytest.approx(best.max(), abs=1e-6)
        assert float(row["score"]) >= threshold
        assert row["match"] == f"training-{made.labels['training'][best.argmax()]}"
        assert row["match_pseudonym"].startswith("T-")
        assert row["matcher"] == "made-up"
    assert entry["dropped"]["reaches a training person"] == len(reaching)
    others = [row for row in dropped if row["reason"] == "another image of its cluster does"]
    assert len(others) == len(dropped) - len(reaching)
    assert {row["match"] for row in others} <= {row["image"] for row in reaching}
    assert entry["images"] == {"before": 180, "after": len(kept)}
    assert "synthetic-" not in (tmp_path / "out" / "filter.json").read_text()


def test_before_is_what_the_scan_said_and_after_is_nothing(run, tmp_path):
    summary = json.loads((run / "summary.json").read_bytes())
    for number, point in enumerate(summary["operating_points"]):
        arguments = ["--point", point["name"]] if number else []
        content = cleaned(run, tmp_path / str(number), *arguments)
        (change,) = content["sets"][0]["matchers"]
        before, after = change["before"], change["after"]
        assert change["decides"]
        assert before["rate"] == point["excess_leak_rate"]["rate"]
        assert before["interval"]["low"] == point["excess_leak_rate"]["low"]
        assert before["upper"] == point["excess_leak_rate"]["upper"]
        assert before["p_value"] == point["excess_leak_rate"]["permutation_p"]
        assert before["training"]["rate"] == point["leak_rate_training"]["rate"]
        assert before["training"]["images"] == point["leak_rate_training"]["images"]
        assert after["training"]["images"] == 0
        assert after["training"]["upper"] > 0
        assert after["clusters"] == content["sets"][0]["clusters"]["after"]
    assert before["training"]["images"] == 0  # nothing reaches the last point, and nothing goes
    assert content["sets"][0]["images"]["after"] == 180


def test_images_alone_and_farthest_images_leave_more(run, tmp_path):
    whole, image, far = (
        cleaned(run, tmp_path / name, *arguments)["sets"][0]
        for name, arguments in (
            ("whole", ()),
            ("image", ("--unit", "image")),
            ("far", ("--keep", "farthest")),
        )
    )
    assert whole["images"]["after"] < image["images"]["after"]
    # With two images in a cluster, the one that does not reach anybody is the farthest.
    assert far["images"] == image["images"]
    assert whole["clusters"]["after"] < far["clusters"]["after"]


def test_what_cannot_be_promised_is_said(run, tmp_path):
    (entry,) = cleaned(run, tmp_path / "out")["sets"]
    said = " ".join(entry["limits"])
    for words in (
        "the same people decided what went",
        "the one against the holdout from",
        "it is no evidence that nothing leaks",
        "No other matcher of the run checks the list",
        "learns which of them resemble somebody in it",
    ):
        assert words in said
    shown = invoke(run, "-o", tmp_path / "again")
    assert "Leak rates at fpir=0.05" in shown
    assert f"{entry['images']['after']} of 180 images" in shown
    assert "it is no evidence that nothing leaks" in shown


def test_repeated_clusters_are_reduced_to_one(tmp_path):
    config = write_population(make_population(POPULATION), tmp_path / "data")
    vectors = np.load(tmp_path / "data" / "synthetic.npy")
    vectors[40:44] = vectors[0:4]  # clusters 20 and 21 are clusters 0 and 1 once more
    np.save(tmp_path / "data" / "synthetic.npy", vectors)
    config.write_text(
        config.read_text().replace("fpir = [0.01]", "fpir = []").replace("fmr = [1e-5]", "fmr = []")
        + "thresholds = [0.95]\n[comparisons]\nsets = ['SxT', 'SxH', 'HxH']\n"
        "[statistics]\nbootstrap = 100\npermutations = 100\n"
    )
    folder = scan(config).folder
    (entry,) = cleaned(folder, tmp_path / "out", "--distinct")["sets"]
    assert entry["dropped"]["repeats another cluster"] == 4
    dropped = read_rows(tmp_path / "out" / "dropped.csv")
    assert [(row["image"], row["match"]) for row in dropped] == [
        ("40", "0"), ("41", "0"), ("42", "2"), ("43", "2"),
    ]  # fmt: skip
    assert entry["images"]["after"] == 176
    assert cleaned(folder, tmp_path / "all")["sets"][0]["images"]["after"] == 180


def test_matchers_that_decide_nothing_check_the_list(made_up, tmp_path):  # noqa: F811
    folder = scan(two_matchers(made_up)).folder
    content = cleaned(folder, tmp_path / "first", "--by", "first")
    assert content["rule"]["deciding"] == ["first"]
    first, second = content["sets"][0]["matchers"]
    assert (first["decides"], second["decides"]) == (True, False)
    assert first["after"]["training"]["rate"] == 0
    assert second["after"]["training"]["rate"] > 0
    assert any(line.startswith("second decided nothing: its excess") for line in content["sets"][0]["limits"])
    both = cleaned(folder, tmp_path / "all", "--matchers", "all")
    either = cleaned(folder, tmp_path / "any")
    assert (
        both["sets"][0]["images"]["after"]
        > content["sets"][0]["images"]["after"]
        > either["sets"][0]["images"]["after"]
    )
    for arguments, words in (
        (("--matchers", "3"), "asks for 3 matchers, and there are 2"),
        (("--matchers", "2", "--by", "first"), "asks for 2 matchers, and there are 1"),
        (("--by", "third"), "has no matcher 'third': it has first, second"),
    ):
        with pytest.raises(ValueError, match=words):
            invoke(folder, "-o", tmp_path / "bad", *arguments)
    assert not (tmp_path / "bad").exists()


def test_matchers_that_name_the_images_otherwise_are_refused(made_up, tmp_path):  # noqa: F811
    config = two_matchers(made_up)
    config.write_text(config.read_text().replace('"synthetic-clusters.npy"', '"each"'))
    np.save(config.parent / "synthetic-other.npy", np.load(config.parent / "synthetic-other.npy")[:-1])
    folder = scan(config).folder
    with pytest.raises(ValueError, match="second names the synthetic images otherwise than first"):
        invoke(folder, "-o", tmp_path / "out")


def test_scores_are_filtered_as_the_embeddings_behind_them(tmp_path):
    scores, ids = write_sets(tmp_path / "data")
    files = {}
    for key, (left, right) in PAIRS.items():
        files[key] = f"of-{key}.csv"
        write_rows(tmp_path / "data" / files[key], rows_of(scores[key], ids[left], ids[right]))
    (tmp_path / "data" / "scores.toml").write_text(config_text(files))
    contents = {}
    for name in ("scan", "scores"):
        folder = scan(tmp_path / "data" / f"{name}.toml").folder
        contents[name] = cleaned(folder, tmp_path / name)["sets"][0]
    assert contents["scores"]["images"] == contents["scan"]["images"]
    assert contents["scores"]["dropped"] == contents["scan"]["dropped"]
    for when in ("before", "after"):
        one, other = (contents[name]["matchers"][0][when] for name in ("scan", "scores"))
        assert one["training"] == other["training"]
        assert one["holdout"] == other["holdout"]
    with pytest.raises(ValueError, match="was not compared with itself, which repetitions need"):
        invoke(folder, "-o", tmp_path / "bad", "--distinct")


def test_pictures_of_a_folder_are_listed_for_the_next_scan(sets, monkeypatch, tmp_path):  # noqa: F811
    use(monkeypatch, GridMatcher())
    spaces = {}
    exec(MODEL.format(leaks=14), spaces)
    for number, pixels in enumerate(spaces["draw"](range(30))):
        (sets / "synthetic").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(sets / "synthetic" / f"{number:02d}.png")
    Image.new("RGB", (16, 16)).save(sets / "synthetic" / "99.png")  # black: no face
    folder = scan(describe(sets, 'images = "synthetic"')).folder
    before = {path: path.stat() for path in sets.rglob("*.png")}
    content = cleaned(folder, tmp_path / "out" / "deep", "--pictures", "copy")
    kept = (tmp_path / "out" / "deep" / "kept.txt").read_text().splitlines()
    assert len(kept) == content["sets"][0]["images"]["after"]
    assert "99.png" in kept
    assert not {f"{number:02d}.png" for number in range(14)} & set(kept)
    assert any("no face in 1 of the kept images" in line for line in content["sets"][0]["limits"])
    listed = open_images(tmp_path / "out" / "deep" / "kept.csv")
    assert [listed.read(number) for number in range(len(listed))] == [
        (sets / "synthetic" / name).read_bytes() for name in kept
    ]
    copied = {path.name: path.read_bytes() for path in (tmp_path / "out" / "deep" / "images").iterdir()}
    assert copied == {name: (sets / "synthetic" / name).read_bytes() for name in kept}
    invoke(folder, "-o", tmp_path / "links", "--pictures", "symlink", "--drop-no-face")
    links = sorted((tmp_path / "links" / "images").iterdir())
    assert [path.resolve() for path in links] == [sets / "synthetic" / name for name in kept[:-1]]
    assert {path: path.stat() for path in before} == before


def test_every_set_of_a_series_has_its_list(sets, monkeypatch, tmp_path):  # noqa: F811
    use(monkeypatch, GridMatcher())
    folder = scan(describe(sets, SERIES)).folder
    content = cleaned(folder, tmp_path / "out")
    names = ["early-draw-psi1", "early-draw-psi0.5", "late-draw-psi1", "late-draw-psi0.5"]
    assert [entry["name"] for entry in content["sets"]] == names
    for entry in content["sets"]:
        kept = (tmp_path / "out" / entry["name"] / "kept.txt").read_text().splitlines()
        assert len(kept) == entry["images"]["after"]
    assert content["sets"][0]["images"]["after"] > content["sets"][2]["images"]["after"]
    with pytest.raises(ValueError, match="no folder of pictures"):
        invoke(folder, "-o", tmp_path / "bad", "--pictures", "copy")


def test_what_cannot_be_filtered_is_refused(run, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="exists already"):
        invoke(run, "-o", tmp_path / "there")
    for arguments, words in (
        (("--point", "fpir=0.5"), "no operating point 'fpir=0.5': it has fpir=0.05, fmr=0.001"),
        (("--matchers", "few"), "not 'few'"),
        (("--unit", "image", "--keep", "farthest"), "needs the unit 'cluster'"),
    ):
        with pytest.raises(ValueError, match=words):
            invoke(run, "-o", tmp_path / "out", *arguments)
    with pytest.raises(ValueError, match="no finished run"):
        invoke(tmp_path, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_point_without_a_threshold_and_a_set_of_which_nothing_is_left(tmp_path):
    config = write_population(make_population(POPULATION), tmp_path / "data")
    config.write_text(
        config.read_text() + "thresholds = [-0.9]\n[statistics]\nbootstrap = 100\npermutations = 100\n"
    )
    folder = scan(config).folder
    with pytest.raises(ValueError, match="made-up has no threshold for fpir=0.01: a false positive rate"):
        invoke(folder, "-o", tmp_path / "out")
    with pytest.raises(ValueError, match="nothing is left of the synthetic set"):
        invoke(folder, "-o", tmp_path / "out", "--point", "threshold=-0.9")
