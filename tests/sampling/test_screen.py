"""Screened sampling: what is released, what takes the place of what, kills, workers, thresholds, refusals."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from itertools import count

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from idsim.cli.main import app
from idsim.embedding import EmbedConfig, embed
from idsim.sampling import SampleConfig, parts, sample
from sampling.makers import contents
from sampling.screen_makers import MODEL, config, expected_rounds, screen, space_of, vectors, write_all

LEAKS = space_of(MODEL)["leaks"]


def passes(seed):
    return seed % 10 != 9 and not LEAKS(seed)


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_SEEDS", 8)
    return write_all(tmp_path)


def table(result, name="images"):
    return pq.read_table(result.folder / f"{name}.parquet").to_pylist()


def read(result, row):
    return np.asarray(Image.open(result.folder / row["set"] / row["file"]))


def distances(pixels):
    found = (pixels[::4, ::4].reshape(-1) / 64).astype(np.float64)
    return np.sqrt(((vectors(range(30)) - found) ** 2).sum(axis=1))


def test_what_is_released_has_passed_and_the_rest_is_replaced_in_order(made, tmp_path):
    result = sample(config(made, tmp_path / "out"))
    drawn = expected_rounds(range(40), count(40), passes)
    assert max(attempt for _, attempt, _ in drawn) >= 2
    rows = table(result, "screening")
    assert [(row["asked_seed"], row["attempt"], row["seed"]) for row in rows] == drawn
    assert [row["released"] for row in rows] == [passes(seed) for _, _, seed in drawn]
    for row in rows:
        outcome = "no face" if row["seed"] % 10 == 9 else "rejected" if LEAKS(row["seed"]) else "accepted"
        assert row["outcome"] == outcome
        assert (row["score"] is None) == (outcome == "no face")
    released = table(result)
    assert len(released) == result.sets["model-draw"] == 40
    assert sorted(row["asked_seed"] for row in released) == list(range(40))
    assert [row["seed"] for row in released] == sorted(row["seed"] for row in released)
    for row in released:
        near = distances(read(result, row))
        assert near.min() > 3
        assert row["score"] == pytest.approx(near.min(), rel=1e-6)
    files = {str(path.relative_to(result.folder / "model-draw")) for path in result.folder.rglob("*.png")}
    assert files == {row["file"] for row in released}
    assert not (result.folder / ".work").exists()


def test_the_record_says_what_the_screen_was_and_cannot_do(made, tmp_path):
    result = sample(config(made, tmp_path / "out"))
    content = json.loads((result.folder / "screen.json").read_bytes())
    assert result.screen == content
    rows = table(result, "screening")
    (one,) = content["sets"]
    rejected = sum(row["outcome"] == "rejected" for row in rows)
    faceless = sum(row["outcome"] == "no face" for row in rows)
    assert (one["asked"], one["released"], one["drawn"]) == (40, 40, len(rows))
    assert (one["rejected"], one["no_face"]) == (rejected, faceless)
    assert one["most_attempts"] == 1 + max(row["attempt"] for row in rows)
    rate = one["rejection_rate"]
    assert rate["pictures"] == len(rows) - faceless
    assert rate["rate"] == pytest.approx(rejected / rate["pictures"])
    assert rate["low"] < rate["rate"] < rate["high"]
    assert content["matcher"]["name"] == "corner"
    assert content["gallery"]["persons"] == 30
    assert content["operating_point"]["fpir"] is None
    said = " ".join(content["limits"])
    for words in (
        "for corner",
        "another matcher",
        "look-alike",
        "somebody in the gallery",
        "nothing is known of its",
    ):
        assert words in said
    again = sample(config(made, tmp_path / "out"))
    assert again.resumed
    assert again.screen == content


def test_the_threshold_comes_from_searches_for_outsiders(made, tmp_path):
    by = screen(made, threshold=None, fpir=0.1, calibration=made / "outsiders.npy")
    content = sample(config(made, tmp_path / "out", screen_by=by)).screen
    outsiders = vectors(range(20_000, 20_080)).astype(np.float64)
    best = np.sort(
        [np.sqrt(((vectors(range(30)) - one) ** 2).sum(axis=1)).min() for one in outsiders]
    ).astype(np.float32)
    point = content["operating_point"]
    assert point["target"] == "fpir=0.1"
    assert best[7] <= point["threshold"] < best[8]  # 8 of 80 may match
    assert (point["fpir"]["errors"], point["fpir"]["trials"]) == (8, 80)
    assert point["fpir"]["interval"]["low"] < 0.1 < point["fpir"]["interval"]["high"]
    assert point["persons_searched"] == 30
    assert any(
        "10.00 % of searches for people who are not in the gallery" in line for line in content["limits"]
    )
    fixed = screen(made, threshold=point["threshold"], calibration=made / "outsiders.npy")
    assert (
        sample(config(made, tmp_path / "fixed", screen_by=fixed)).screen["operating_point"]["fpir"]["errors"]
        == 8
    )


def test_pictures_without_a_face_can_be_kept(made, tmp_path):
    result = sample(config(made, tmp_path / "out", screen_by=screen(made, no_face="keep")))
    released = table(result)
    assert {9, 19, 29} <= {row["seed"] for row in released}
    assert {row["outcome"] for row in released} == {"accepted", "no face"}
    assert "Pictures without a face were kept" in " ".join(result.screen["limits"])


def run_killed(arguments, **environment):
    code = "import idsim.sampling.parts as p; p.PART_SEEDS = 8; from idsim.cli.main import run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, "sample", *map(str, arguments)],
        env={**os.environ, **environment}, check=False, capture_output=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["png", "zip"])
def test_a_killed_run_ends_in_the_same_bytes(made, tmp_path, kind):
    whole = contents(sample(config(made, tmp_path / "whole", format=kind)).folder)
    arguments = [
        f"{made / 'model.py'}:draw", "--seeds", "0-39", "--format", kind, "-o", tmp_path / "killed",
        "--screen", made / "people.npy", "-m", f"{made / 'matcher.py'}:corner", "--threshold", "3",
    ]  # fmt: skip
    deaths = [{"IDSIM_TEST_STOP_AT": str(seed)} for seed in (20, 45)]  # in the first round and in the second
    counted = {"IDSIM_TEST_COUNT": str(tmp_path / "count"), "IDSIM_TEST_DEATH": "5"}
    for environment in (*deaths, counted):
        done = run_killed(arguments, **environment)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not list((tmp_path / "killed").glob("images.*"))
    result = sample(config(made, tmp_path / "killed", format=kind))
    assert not result.resumed
    assert contents(result.folder) == whole


def test_finished_parts_are_judged_once(made, tmp_path, monkeypatch):
    from idsim.sampling import workers

    judged = []
    real = workers.screen_part

    def failing(plan, part, generator, by):
        if len(judged) == 7:
            raise KeyboardInterrupt
        judged.append((part.attempt, part.number))
        real(plan, part, generator, by)

    monkeypatch.setattr(workers, "screen_part", failing)
    with pytest.raises(KeyboardInterrupt):
        sample(config(made, tmp_path / "out"))
    assert judged == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 1)]
    judged.append("again")
    sample(config(made, tmp_path / "out"))
    assert judged[8] == (2, 0)
    assert len(set(judged)) == len(judged)


def test_workers_write_the_same_bytes(made, tmp_path, monkeypatch):
    monkeypatch.undo()  # the processes have the real size of a part
    chosen = {"seeds": "0-199", "screen_by": screen(made, device="cpu")}
    one = sample(config(made, tmp_path / "one", devices=("cpu",), **chosen))
    two = sample(config(made, tmp_path / "two", devices=("cpu:0", "cpu:1"), **chosen))
    assert contents(one.folder) == contents(two.folder)


def test_a_zip_holds_what_is_released(made, tmp_path):
    result = sample(config(made, tmp_path / "out", format="zip"))
    with zipfile.ZipFile(result.folder / "model-draw.zip") as archive:
        names = archive.namelist()
        pictures = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names[:-1]]
    assert names[-1] == "dataset.json"
    assert names[:-1] == sorted(names[:-1]) == [row["file"] for row in table(result)]
    assert min(distances(pixels).min() for pixels in pictures) > 3


def test_a_run_without_hope_is_refused_early_and_luck_is_not(made, tmp_path):
    chosen = {"networks": (f"{made / 'model.py'}:only_leaks",), "seeds": "0-99"}
    with pytest.raises(
        ValueError, match=r"100 of 100 pictures were turned down \(100.00 %: 100 resemble somebody"
    ):
        sample(config(made, tmp_path / "out", **chosen))
    assert len(list((tmp_path / "out").rglob("*part-*.bin"))) == 13  # the first round alone
    assert not list((tmp_path / "out").glob("images.*"))


def test_more_redraws_go_on_where_fewer_were_not_enough(made, tmp_path):
    with pytest.raises(ValueError, match="larger --max-redraws goes on"):
        sample(config(made, tmp_path / "out", screen_by=screen(made, max_redraws=1)))
    result = sample(config(made, tmp_path / "out", screen_by=screen(made, max_redraws=30)))
    whole = sample(config(made, tmp_path / "whole"))
    assert contents(result.folder) == contents(whole.folder)


def test_seeds_of_the_reserve(made, tmp_path):
    result = sample(config(made, tmp_path / "out", screen_by=screen(made, reserve="1000-1999")))
    drawn = expected_rounds(range(40), count(1000), passes)
    assert [row["seed"] for row in table(result, "screening")] == [seed for _, _, seed in drawn]
    with pytest.raises(
        ValueError, match="the reserve must begin after the last seed, 39, and begins with 30"
    ):
        sample(config(made, tmp_path / "early", screen_by=screen(made, reserve="30-99")))
    with pytest.raises(ValueError, match="the reserve has no seed left for 11 pictures"):
        sample(config(made, tmp_path / "short", screen_by=screen(made, reserve="40-44")))


def test_stored_pictures_are_replaced_by_those_that_follow(made, tmp_path):
    plain = sample(
        SampleConfig(networks=(f"{made / 'model.py'}:draw",), output=tmp_path / "plain", seeds="0-79")
    )
    stored = {"networks": (str(plain.folder / "model-draw"),), "seeds": "0-29"}
    result = sample(config(made, tmp_path / "out", **stored))
    assert [row["seed"] for row in table(result, "screening")] == [
        seed for _, _, seed in expected_rounds(range(30), count(30), passes)
    ]
    with pytest.raises(ValueError, match="the reserve has no seed left"):
        sample(config(made, tmp_path / "all", networks=stored["networks"], seeds=""))


def people(folder, numbers):
    face = space_of(MODEL)["face"]
    for number in numbers:
        place = folder / f"p{number}" / "a.png"
        place.parent.mkdir(parents=True)
        Image.fromarray(np.kron(face(number), np.ones((4, 4, 1))).astype(np.uint8)).save(place)
    return folder


def test_the_gallery_must_be_of_the_matcher(made, tmp_path):
    images = people(tmp_path / "images", range(30))
    embed(EmbedConfig(images, tmp_path / "faces", f"{made / 'matcher.py'}:corner"))
    by = screen(made, gallery=tmp_path / "faces")
    result = sample(config(made, tmp_path / "out", screen_by=by))
    assert result.screen["gallery"]["labels"] == "group"
    plain = sample(config(made, tmp_path / "plain"))
    assert table(result, "screening") == table(plain, "screening")
    other = screen(made, gallery=tmp_path / "faces", matcher=f"{made / 'matcher.py'}:other")
    with pytest.raises(ValueError, match="embedded by another matcher: name was 'corner' and is 'other'"):
        sample(config(made, tmp_path / "bad", screen_by=other))
    with pytest.raises(ValueError, match=r"embeddings of 48 numbers, and those of corner have 12"):
        sample(config(made, tmp_path / "bad", screen_by=screen(made, matcher=f"{made / 'matcher.py'}:short")))


def test_people_who_are_in_both_galleries_do_not_calibrate(made, tmp_path):
    for name, numbers in (("faces", range(30)), ("others", [*range(5), *range(20_000, 20_075)])):
        images = people(tmp_path / f"{name}-images", numbers)
        embed(EmbedConfig(images, tmp_path / name, f"{made / 'matcher.py'}:corner"))
    by = screen(made, gallery=tmp_path / "faces", threshold=None, fpir=0.1, calibration=tmp_path / "others")
    content = sample(config(made, tmp_path / "out", screen_by=by)).screen
    assert content["calibration"]["persons_left_out"] == 5
    assert content["operating_point"]["fpir"]["trials"] == 75
    all_known = screen(made, gallery=tmp_path / "faces", threshold=None, calibration=tmp_path / "faces")
    with pytest.raises(ValueError, match="every person is in"):
        sample(config(made, tmp_path / "bad", screen_by=all_known))


def test_another_screen_is_another_run(made, tmp_path):
    sample(config(made, tmp_path / "out"))
    with pytest.raises(ValueError, match=r"screen\.target was 'threshold=3' and is 'threshold=2'"):
        sample(config(made, tmp_path / "out", screen_by=screen(made, threshold=2.0)))
    np.save(made / "people.npy", vectors(range(29)))
    with pytest.raises(ValueError, match=r"screen\.gallery\.rows was 30 and is 29"):
        sample(config(made, tmp_path / "out"))
    with pytest.raises(ValueError, match=r"config\.screen"):
        sample(SampleConfig((f"{made / 'model.py'}:draw",), tmp_path / "out", "0-39"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matcher": ""}, "a screen needs a matcher"),
        ({"threshold": None}, r"\(--calibration\), or a fixed threshold \(--threshold\)"),
        ({"fpir": 0.1}, "a target FPIR or a fixed threshold, not both"),
        ({"threshold": float("nan")}, "threshold must be a finite number"),
        ({"threshold": None, "calibration": "x", "fpir": 1.0}, "fpir must be between 0 and 1, not 1"),
        ({"no_face": "maybe"}, "no_face must be 'reject' or 'keep', not 'maybe'"),
        ({"max_redraws": 0}, "max_redraws must be from 1 to"),
        ({"reserve": "a-b"}, "seeds must be like"),
    ],
)
def test_screens_that_cannot_be(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        screen(tmp_path, **changes)


def test_too_few_outsiders_give_no_threshold(made, tmp_path):
    by = screen(made, threshold=None, calibration=made / "outsiders.npy")
    with pytest.raises(
        ValueError, match=r"no threshold for fpir=0\.01: a false positive rate of 0\.01 is not supp"
    ):
        sample(config(made, tmp_path / "out", screen_by=by))
    assert not (tmp_path / "out").exists()


def invoke(*arguments):
    return CliRunner().invoke(app, ["sample", *map(str, arguments)])


def test_the_command_line(made, tmp_path):
    arguments = [f"{made / 'model.py'}:draw", "--seeds", "0-39", "-o", tmp_path / "out"]
    screened = ["--screen", made / "people.npy", "-m", f"{made / 'matcher.py'}:corner"]
    for more, words in (
        (["--threshold", "3"], "--threshold is of a screen: give --screen"),
        (["--matcher-device", "cpu"], "--matcher-device is of a screen"),
        (["--no-face", "keep"], "--no-face is of a screen"),
        (screened, "(--calibration), or a fixed threshold"),
        (["--screen", made / "people.npy", "--threshold", "3"], "a screen needs a matcher"),
        ([*screened, "--threshold", "3", "--screen", made / "nothing.npy"], "nothing.npy"),
    ):
        done = invoke(*arguments, *more)
        assert done.exit_code == 1
        assert words in str(done.exception)
    given = [*screened, "--fpir", "0.1", "--calibration", made / "outsiders.npy"]
    done = invoke(*arguments, *given, "--quiet")
    assert done.exit_code == 0, done.output
    assert "pictures drawn for 40" in done.stdout
    assert "excess leak rate must be measured with another matcher" in done.stdout
    shown = json.loads(invoke(*arguments, *given, "--json").stdout)
    assert shown["screen"]["sets"][0]["released"] == 40
    assert shown["resumed"]
