"""``idsim calibrate``: what it writes and prints, and how it ends."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from audit.makers import unit
from idsim import reference
from idsim.audit.pairs.comparing import VectorImpostors
from idsim.audit.thresholds import calibration_set
from idsim.audit.thresholds.calibrating import CalibrationRequest
from idsim.audit.thresholds.calibrating import calibrate as run_calibration
from idsim.audit.thresholds.calibration import Calibrator, Target
from idsim.audit.thresholds.calibration_set import compare_with_itself, read_calibration_set
from idsim.cli import failures
from idsim.cli.main import app
from idsim.gallery import Gallery

TARGETS = (Target("fpir", 0.05), Target("fmr", 1e-3), Target("threshold", 0.5))


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch):
    monkeypatch.setattr("idsim.audit.thresholds.sampled_impostors.SAMPLED_PAIRS", 1 << 16)


def silent(done, total, note=""):
    return True


def invoke(*arguments):
    return CliRunner().invoke(app, ["calibrate", *(str(argument) for argument in arguments)])


def population(rng, persons=400, twice=15, dim=48):
    """One or two images of a person; the last `twice` labels are the first persons once more."""
    images = np.repeat(np.arange(persons), rng.integers(1, 3, persons))
    centres = unit(rng.standard_normal((persons - twice, dim)))
    centres = np.concatenate([centres, centres[:twice]])
    return unit(centres[images] + 0.3 / np.sqrt(dim) * rng.standard_normal((len(images), dim))), images


@pytest.fixture
def files(rng, tmp_path):
    vectors, persons = population(rng)
    np.save(tmp_path / "faces.npy", vectors)
    np.save(tmp_path / "persons.npy", persons)
    return tmp_path


def options(files, output="out"):
    return files / "faces.npy", "-o", files / output, "--labels", files / "persons.npy"


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("all_pairs", [True, False])
def test_thresholds_are_those_of_the_plain_calibrator(files, metric, all_pairs, monkeypatch):
    if not all_pairs:
        monkeypatch.setattr(calibration_set, "LEAST_LISTED", 50)
    data = read_calibration_set(files / "faces.npy", str(files / "persons.npy"))
    result = run_calibration(data, CalibrationRequest(metric, TARGETS, bootstrap=100), silent)
    plain = Calibrator(VectorImpostors(data.faces.vectors, data.persons, metric))
    for target, entry in zip(TARGETS, result.entry["operating_points"], strict=True):
        point = plain.point(target)
        assert entry["threshold"] == pytest.approx(point.threshold, rel=1e-8)
        assert entry["fmr"]["errors"] == point.fmr.errors
        assert entry["fpir"]["errors"] == point.fpir.errors
        assert entry["fmr"]["low"] == pytest.approx(point.fmr.interval.low, rel=1e-8)


def test_misses_are_those_of_all_pairs_of_one_person(files):
    data = read_calibration_set(files / "faces.npy", str(files / "persons.npy"))
    entry = run_calibration(data, CalibrationRequest("cosine", TARGETS, bootstrap=100), silent).entry
    scores = reference.score_matrix(data.faces.vectors, data.faces.vectors, "cosine").astype(np.float64)
    mated = scores[np.triu(data.persons[:, None] == data.persons[None, :], 1)]
    assert entry["calibration"]["mated_comparisons"] == len(mated) > 50
    for point in entry["operating_points"]:
        assert point["fnmr"]["pairs"] == len(mated)
        assert point["fnmr"]["missed"] == (mated < point["threshold"]).sum()


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_bins_hold_all_impostor_comparisons(files, metric, monkeypatch):
    monkeypatch.setattr(calibration_set, "LEAST_LISTED", 500)
    data = read_calibration_set(files / "faces.npy", str(files / "persons.npy"))
    found = compare_with_itself(data, metric, [Target("fmr", 1e-3)], silent)
    scores = reference.score_matrix(data.faces.vectors, data.faces.vectors, metric).astype(np.float64)
    impostors = scores[np.triu(data.persons[:, None] != data.persons[None, :], 1)]
    assert found.impostors.total == len(impostors)
    assert 500 <= len(found.compared.tail.rows) < len(impostors) / 10
    grid = np.quantile(-impostors if metric == "l2" else impostors, [0.1, 0.3, 0.5, 0.9, 0.999])
    low, high = found.impostors.reaching(grid)
    exact = np.array([(-impostors if metric == "l2" else impostors) >= score for score in grid]).sum(axis=1)
    if metric == "cosine":
        assert not found.sampled
        assert (low <= exact).all()
        assert (exact <= high).all()
    else:
        assert found.sampled > 50_000
        assert (low + high) / 2 == pytest.approx(exact, rel=0.03)
        assert low[-1] == high[-1] == exact[-1]


def test_what_was_planted_is_found(files):
    done = invoke(*options(files), "--fmr", "1e-3", "--fpir", "0.05", "--cut", "0.75")
    assert done.exit_code == 0, done.output
    entry = json.loads((files / "out" / "calibration.json").read_text())
    found = entry["contamination"]
    assert found["components"] == found["removed_persons"] == 15
    moved = {one["name"]: one["change"] for one in found["sensitivity"]}
    assert moved["fpir=0.05"] < 0
    links = _read(files / "out")
    planted = {tuple(sorted((str(person), str(385 + person)))) for person in range(15)}
    assert {(one["first"], one["second"]) for one in links} == planted
    assert all(one["first_removed"] != one["second_removed"] for one in links)
    assert links == sorted(links, key=lambda one: -one["score"])
    assert (files / "out").stat().st_mode & 0o077 == 0


def _read(folder):
    import pyarrow.parquet as pq

    return pq.read_table(folder / "links.parquet").to_pylist()


def test_tables_say_what_was_measured(files):
    arguments = (
        "--fmr",
        "1e-3",
        "--fmr",
        "1e-6",
        "--fpir",
        "0.05",
        "--thresholds",
        "0.9",
        "--gallery-size",
        100,
    )
    done = invoke(*options(files), *arguments, "--extrapolate")
    assert done.exit_code == 0, done.output
    for part in (
        "Thresholds (400 persons",
        "Thresholds in smaller galleries",
        "before and after the persons above the cut",
        "EXTRAPOLATED thresholds",
        "fmr=1e-06 is refused: a false match rate of 1e-06 is not supported by 79800 pairs of persons",
        "Cut ",
        "AUC ",
        "no standard method",
    ):
        assert part in done.stdout


def test_json_is_the_file_and_the_same_again(files):
    arguments = ("--fmr", "1e-3", "--fpir", "0.05", "--extrapolate", "--gallery-size", "50", "--json")
    first, second = invoke(*options(files), *arguments), invoke(*options(files, "again"), *arguments)
    written = (files / "out" / "calibration.json").read_text()
    assert json.loads(first.stdout) == json.loads(written)
    assert written == (files / "again" / "calibration.json").read_text()
    assert first.stdout == second.stdout
    assert json.loads(written)["schema_version"] == 1
    assert (files / "out" / "links.parquet").read_bytes() == (files / "again" / "links.parquet").read_bytes()


def test_nothing_calibrated_has_its_own_status(files):
    done = invoke(*options(files), "--fmr", "1e-9", "--fpir", "0.05", "--gallery-size", "500")
    assert done.exit_code == 0  # FPIR at the size of the gallery is there
    assert "a gallery of 500 persons is larger than the 399 others" in done.stdout
    nothing = invoke(*options(files, "nothing"), "--fmr", "1e-6", "--fpir", "0.001")
    assert nothing.exit_code == 3
    assert "fmr=1e-06 is refused" in nothing.stdout
    assert (files / "nothing" / "calibration.json").is_file()
    beyond = invoke(*options(files, "beyond"), "--fmr", "2e-5", "--extrapolate")
    assert beyond.exit_code == 0


def test_the_cut_is_the_median_of_mated_comparisons(files):
    invoke(*options(files), "--fmr", "1e-3")
    found = json.loads((files / "out" / "calibration.json").read_text())["contamination"]
    assert found["rule"] == "median of mated comparisons"
    assert found["mated_reaching_cut"] == pytest.approx(0.5, abs=0.01)
    assert 3 <= found["components"] <= 15
    assert found["floor_corrected"] == pytest.approx(2 * found["floor"], rel=0.02)


def test_groups_of_a_gallery_are_its_persons(rng, tmp_path):
    vectors, persons = population(rng)
    Gallery.from_arrays(tmp_path / "gallery", vectors, groups=[f"p{person}" for person in persons])
    done = invoke(tmp_path / "gallery", "-o", tmp_path / "out", "--fmr", "1e-3", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["input"]["persons"] == 400
    assert json.loads(done.stdout)["input"]["labels"] == "group"


def test_rows_without_numbers_are_left_out(rng, tmp_path):
    vectors, _ = population(rng, twice=0)
    vectors[[3, 7]] = np.nan
    np.save(tmp_path / "faces.npy", vectors)
    done = invoke(tmp_path / "faces.npy", "-o", tmp_path / "out", "--labels", "each", "--fmr", "1e-3")
    assert done.exit_code == 0, done.output
    assert f"2 of {len(vectors)} rows are no embeddings" in done.stdout
    assert "Every embedding is taken for a person of its own" in done.stdout
    assert "There is no FNMR: no person has two images." in done.stdout


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize(
    ("vectors", "persons"),
    [
        (np.eye(2, 8), [0, 1]),
        (np.ones((60, 8)), np.arange(60) // 2),
        (np.zeros((40, 8)), np.arange(40)),
        (np.repeat(np.random.default_rng(0).standard_normal((50, 8)), 2, axis=0), np.arange(100)),
        (np.random.default_rng(1).standard_normal((150, 8)), [0] * 120 + list(range(1, 31))),
    ],
    ids=["two persons", "one score", "no direction", "every face twice", "one person with most images"],
)
def test_odd_galleries_are_calibrated_or_refused(tmp_path, metric, vectors, persons):
    np.save(tmp_path / "faces.npy", vectors.astype(np.float32))
    np.save(tmp_path / "persons.npy", np.array(persons))
    arguments = (
        "--metric",
        metric,
        "--fmr",
        "0.01",
        "--fpir",
        "0.1",
        "--gallery-size",
        "10",
        "--extrapolate",
    )
    done = invoke(*options(tmp_path), *arguments, "--bootstrap", "100")
    assert done.exit_code in (0, 3), done.exception
    text = (tmp_path / "out" / "calibration.json").read_text()
    entry = json.loads(text, parse_constant=pytest.fail)  # no NaN, no Infinity
    for point in entry["operating_points"]:
        assert (point["threshold"] is None) == bool(point["refused"])
        if point["threshold"] is not None:
            assert point[point["kind"]]["rate"] <= point["target"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fmr", "0"], "--fmr must be above 0 and below 1, not 0"),
        (["--fpir", "1"], "--fpir must be above 0 and below 1, not 1"),
        (["--confidence", "1"], "--confidence must be from 0.5 to below 1, not 1"),
        (["--labels", "group"], "has no group column that says who is in its rows"),
        (["--labels", "{}/short.npy"], "short.npy must hold"),
        (["--labels", "{}/text.npy"], "text.npy is no .npy file of labels"),
        (["--labels", "{}/one.npy"], "all embeddings are of one person"),
        (["--cut", "-2"], "a cut of -2 is looser than"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(files, arguments, message):
    np.save(files / "short.npy", np.arange(5))
    (files / "text.npy").write_text("who")
    np.save(files / "one.npy", np.zeros(len(np.load(files / "faces.npy")), np.int64))
    done = invoke(*options(files), *(argument.format(files) for argument in arguments))
    code, sentence = failures.describe(done.exception)
    assert code == failures.BAD_INPUT
    assert message in sentence
    assert not (files / "out").exists()


def test_nothing_is_overwritten(files):
    (files / "out").mkdir()
    assert "exists already" in str(invoke(*options(files)).exception)
    missing = invoke(files / "faces.npy", "-o", files / "no" / "out")
    assert "is no folder" in str(missing.exception)
    np.save(files / "nan.npy", np.full((4, 3), np.nan, np.float32))
    empty = invoke(files / "nan.npy", "-o", files / "new", "--labels", "each")
    assert "none of them is an embedding" in str(empty.exception)
