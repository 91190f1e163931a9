"""Sampling runs: what is written, and that kills, workers and their number do not change a byte of it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from idsim.generators import open_generator
from idsim.sampling import SampleConfig, parts, sample
from sampling.makers import contents, write_model

SEEDS = "0-19,1000-1004,2000"


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_SEEDS", 8)
    return write_model(tmp_path)


def config(model, output, **changes):
    return SampleConfig(**{"networks": (model,), "output": output, "seeds": SEEDS, **changes})


def read(path):
    return np.asarray(Image.open(path))


def test_every_picture_has_its_file_and_its_row(model, tmp_path):
    result = sample(config(model, tmp_path / "out", psi=(0.5, 1.0), labels=(2,)))
    assert result.sets == {"model-draw-psi0.5-label2": 26, "model-draw-psi1-label2": 26}
    rows = pq.read_table(result.table).to_pylist()
    assert [row["seed"] for row in rows[:26]] == [*range(20), *range(1000, 1005), 2000]
    generator = open_generator(model)
    for row in rows:
        (expected,) = generator.sample([row["seed"]], psi=row["psi"], label=row["label"])
        stored = read(result.folder / row["set"] / row["file"])
        np.testing.assert_array_equal(stored, expected)
        assert row["pixels_sha256"] == hashlib.sha256(expected.tobytes()).hexdigest()
        assert row["network_sha256"] == generator.describe()["sha256"]
    assert rows[25]["file"] == "00002/seed00002000.png"
    labels = json.loads((result.folder / "model-draw-psi1-label2" / "dataset.json").read_text())["labels"]
    assert labels == [[row["file"], 2] for row in rows[26:]]
    assert not list(result.folder.rglob(".work"))


def test_the_zip_is_the_one_of_stylegan2_ada(model, tmp_path):
    result = sample(config(model, tmp_path / "out", format="zip"))
    with zipfile.ZipFile(result.folder / "model-draw.zip") as archive:
        infos = archive.infolist()
        assert [info.filename for info in infos] == sorted(info.filename for info in infos)
        assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(archive.read("dataset.json")) == {"labels": None}
        first = np.asarray(Image.open(io.BytesIO(archive.read(infos[0]))))
    np.testing.assert_array_equal(first, next(iter(open_generator(model).sample([0]))))
    again = open_generator(str(result.folder / "model-draw.zip"))
    assert len(again) == 26


@pytest.mark.parametrize(
    ("kind", "quality", "suffix", "lossless"),
    [
        ("webp", 0, "webp", True),
        ("webp", 60, "webp", False),
        ("jpeg", 0, "jpg", False),
        ("png", 0, "png", True),
    ],
)
def test_formats(model, tmp_path, kind, quality, suffix, lossless):
    result = sample(config(model, tmp_path / "out", format=kind, quality=quality, seeds="3"))
    stored = read(result.folder / "model-draw" / f"00000/seed00000003.{suffix}")
    expected = next(iter(open_generator(model).sample([3])))
    assert (np.abs(stored.astype(int) - expected).max() == 0) == lossless
    assert stored.shape == expected.shape


def test_the_numbers_of_stored_pictures_need_no_seeds(model, tmp_path):
    first = sample(config(model, tmp_path / "out"))
    second = sample(
        SampleConfig(networks=(str(first.folder / "model-draw"),), output=tmp_path / "again", format="zip")
    )
    one, two = (pq.read_table(result.table).column("pixels_sha256") for result in (first, second))
    assert one == two


def run_killed(arguments, stop):
    """Run the command line until a process of it kills itself at a seed."""
    code = "import idsim.sampling.parts as p; p.PART_SEEDS = 8; from idsim.cli.main import run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, "sample", *map(str, arguments)],
        env={**os.environ, "IDSIM_TEST_STOP_AT": str(stop)}, check=False, capture_output=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["png", "zip"])
def test_a_killed_run_ends_in_the_same_bytes(model, tmp_path, kind):
    whole = contents(sample(config(model, tmp_path / "whole", format=kind, psi=(0.5, 1.0))).folder)
    arguments = [model, "--seeds", SEEDS, "--psi", "0.5,1", "--format", kind, "-o", tmp_path / "killed"]
    for stop in (3, 10, 1001, 2000):
        done = run_killed(arguments, stop)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not list((tmp_path / "killed").glob("images.*"))
    result = sample(config(model, tmp_path / "killed", format=kind, psi=(0.5, 1.0)))
    assert not result.resumed
    assert contents(result.folder) == whole


def test_finished_parts_are_not_drawn_again(model, tmp_path, monkeypatch):
    drawn = []
    real = parts.draw_part

    def failing(plan, part, generator):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(part.number)
        real(plan, part, generator)

    monkeypatch.setattr("idsim.sampling.workers.draw_part", failing)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            sample(config(model, tmp_path / "out"))
        drawn[:] = drawn[:2]
        assert drawn == [0, 1]
    monkeypatch.setattr(
        "idsim.sampling.workers.draw_part", lambda *given: drawn.append("again") or real(*given)
    )
    steps = []
    sample(config(model, tmp_path / "out"), progress=lambda stage, done, total: steps.append((done, total)))
    assert drawn == [0, 1, "again", "again"]
    assert steps == [(16, 26), (24, 26), (26, 26)]


@pytest.mark.parametrize("damage", ["record", "picture", "temporary"])
def test_damage_of_an_unfinished_run_is_drawn_again(model, tmp_path, damage):
    result = sample(config(model, tmp_path / "whole"))
    whole = contents(result.folder)
    with pytest.raises(KeyboardInterrupt):
        sample(config(model, tmp_path / "out"), progress=interrupting(16))
    folder = tmp_path / "out"
    victim = {
        "record": next((folder / ".work").rglob("part-0000001.bin")),
        "picture": folder / "model-draw" / "00000" / "seed00000009.png",
        "temporary": folder / "model-draw" / "00000" / ".seed00000009.png.1.abc.tmp",
    }[damage]
    victim.write_bytes(victim.read_bytes()[:-3] if victim.exists() else b"half")
    assert contents(sample(config(model, folder)).folder) == whole


def interrupting(limit):
    def progress(stage, done, total):
        if done >= limit:
            raise KeyboardInterrupt

    return progress


def test_a_finished_run_is_left_alone(model, tmp_path):
    first = sample(config(model, tmp_path / "out"))
    times = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*.png")}
    second = sample(config(model, tmp_path / "out"))
    assert second.resumed
    assert {path: path.stat().st_mtime_ns for path in second.folder.rglob("*.png")} == times


@pytest.mark.parametrize("kind", ["png", "zip"])
def test_workers_write_the_same_bytes(model, tmp_path, monkeypatch, kind):
    monkeypatch.undo()  # the processes have the real size of a part
    chosen = {"seeds": "0-299", "format": kind, "psi": (0.5, 1.0)}
    one = sample(config(model, tmp_path / "one", devices=("cpu",), **chosen))
    three = sample(config(model, tmp_path / "three", devices=("cpu", "cpu:1", "cpu:2"), **chosen))
    assert contents(one.folder) == contents(three.folder)


def test_a_worker_that_dies_is_named_and_the_run_goes_on(model, tmp_path, monkeypatch):
    from idsim.errors import IdsimError

    monkeypatch.undo()
    chosen = {"seeds": "0-199", "devices": ("cpu:0", "cpu:1")}
    monkeypatch.setenv("IDSIM_TEST_STOP_AT", "150")
    with pytest.raises(IdsimError, match=r"the worker on cpu:\d died at model-draw, part 2"):
        sample(config(model, tmp_path / "out", **chosen))
    monkeypatch.delenv("IDSIM_TEST_STOP_AT")
    result = sample(config(model, tmp_path / "out", **chosen))
    assert contents(result.folder) == contents(sample(config(model, tmp_path / "whole", **chosen)).folder)


def test_a_killed_parent_leaves_no_workers(model, tmp_path):
    code = (
        "import os, sys; from idsim.sampling import SampleConfig, sample\n"
        "def progress(stage, done, total):\n"
        "    if done:\n"
        "        children = open(f'/proc/self/task/{os.getpid()}/children').read()\n"
        "        print(children, flush=True); os.kill(os.getpid(), 9)\n"
        "if __name__ == '__main__':\n"
        "    sample(SampleConfig((sys.argv[1],), __import__('pathlib').Path(sys.argv[2]), '0-9999', "
        "devices=('cpu:0', 'cpu:1')), progress=progress)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script, model, tmp_path / "out"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    workers = [int(child) for child in done.stdout.split()]
    assert len(workers) >= 2
    for worker in workers:
        assert not alive(worker)


def alive(process):
    """Whether a process still runs 10 s from now at the latest; a zombie does not."""
    for _ in range(100):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return False
        except FileNotFoundError:
            return False
        time.sleep(0.1)
    return True


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seeds": "0-20"}, r"config\.sample\.seeds"),
        ({"psi": (0.5,)}, r"config\.sample\.psi"),
        ({"labels": (1,)}, r"config\.sample\.labels"),
        ({"format": "zip"}, r"config\.sample\.format"),
        ({"devices": ("cuda",)}, r"config\.sample\.device"),
    ],
)
def test_a_changed_run_is_refused_by_name(model, tmp_path, changes, named):
    before = contents(sample(config(model, tmp_path / "out")).folder)
    with pytest.raises(ValueError, match=named):
        sample(config(model, tmp_path / "out", **changes))
    assert contents(tmp_path / "out") == before


def test_a_changed_model_is_refused_by_name(model, tmp_path):
    sample(config(model, tmp_path / "out"))
    path = tmp_path / "model.py"
    path.write_text(path.read_text() + "# changed\n")
    with pytest.raises(ValueError, match=r"generators\..*sha256"):
        sample(config(model, tmp_path / "out"))


def test_a_folder_of_something_else_is_not_touched(model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="no run of a sampling"):
        sample(config(model, tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "gif"}, "format must be one of png, jpeg, webp, zip"),
        ({"quality": 90}, "png has no quality"),
        ({"quality": 101, "format": "jpeg"}, "1 to 100"),
        ({"devices": ("cpu", "cuda:0")}, "one kind only: cpu, cuda"),
        ({"seeds": "9-0"}, "backwards"),
        ({"networks": ()}, "at least one generator"),
        ({"psi": (0.5, 0.5)}, "twice"),
    ],
)
def test_bad_descriptions_are_named(model, tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        config(model, tmp_path / "out", **changes)


def test_nothing_is_written_before_the_generator_accepts(model, tmp_path):
    with pytest.raises(ValueError, match="needs seeds"):
        sample(config(model, tmp_path / "out", seeds=""))
    pictures = sample(config(model, tmp_path / "set", seeds="0-3")).folder / "model-draw"
    with pytest.raises(ValueError, match="there is no 4"):
        sample(config(str(pictures), tmp_path / "out", seeds="0-4"))
    with pytest.raises(ValueError, match="psi and label do not apply"):
        sample(config(str(pictures), tmp_path / "out", seeds="0-3", psi=(0.7,)))
    assert not (tmp_path / "out").exists()


def test_a_copy_of_an_unfinished_folder_goes_on_elsewhere(model, tmp_path):
    whole = contents(sample(config(model, tmp_path / "whole")).folder)
    with pytest.raises(KeyboardInterrupt):
        sample(config(model, tmp_path / "out"), progress=interrupting(8))
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert contents(sample(config(model, tmp_path / "moved")).folder) == whole
