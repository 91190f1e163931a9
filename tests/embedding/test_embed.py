"""``idsim embed``: rows, failures, hostile pictures, kills, devices, and the scan over what it made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from embedding.matchers import GridMatcher, StagedGridMatcher
from idsim.audit.run import scan
from idsim.embedding import EmbedConfig, embed
from idsim.errors import CudaError
from idsim.gallery import Gallery
from support.hostile import hostile

CLI = "from idsim.cli.main import run; run()"
GRID = f"{Path(__file__).parent / 'matchers.py'}:"


def face(rng, side=8):
    return np.kron(rng.integers(1, 255, (4, 4, 3)), np.ones((side // 4, side // 4, 1))).astype(np.uint8)


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def people(root, count=30, each=5):
    """Pictures of some people; every seventh is black."""
    rng = np.random.default_rng(1)
    for number in range(count * each):
        pixels = face(rng) if number % 7 else np.zeros((8, 8, 3), np.uint8)
        save(pixels, root / f"p{number // each:02d}" / f"{number % each}.png")
    return root


def tree(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def config(images, output, **more):
    return EmbedConfig(images, output, **{"matcher": GRID + "grid", **more})


def test_a_row_for_every_picture(tmp_path):
    images = people(tmp_path / "images")
    save(np.full((8, 8, 3), 255, np.uint8), images / "p00" / "white.png")
    (images / "p00" / "broken.png").write_bytes(b"no picture")
    (images / "p00" / "link.png").symlink_to("0.png")
    told = []
    result = embed(config(images, tmp_path / "faces"), progress=lambda *step: told.append(step))
    gallery = Gallery.open(tmp_path / "faces")
    assert len(gallery) == 152
    table = gallery.rows()
    assert table["id"].to_pylist()[:3] == ["p00/0.png", "p00/1.png", "p00/2.png"]
    assert set(table["group"].to_pylist()) == {f"p{number:02d}" for number in range(30)}
    vectors = np.load(tmp_path / "faces" / "vectors-00000.npy")
    found = np.isfinite(vectors).all(axis=1)
    assert [status == "ok" for status in table["status"].to_pylist()] == found.tolist()
    rows = pq.read_table(result.folder / "failures.parquet").to_pylist()
    by_name = {row["name"]: (row["stage"], row["reason"]) for row in rows}
    assert by_name["p00/link.png"] == ("list", "it is a symbolic link")
    assert by_name["p00/broken.png"] == ("decode", "it is no JPEG, PNG or WebP picture")
    assert by_name["p00/0.png"] == ("detect", "no face was found")
    assert by_name["p00/white.png"] == ("embed", "the embedding is not finite")
    assert len(rows) == len(by_name) == 1 + int((~found).sum())
    assert result.summary["faces"] == int(found.sum())
    assert result.times["decode"]["images"] == result.times["represent"]["images"] == 152
    assert told[-1][:2] == (152, 152)
    metadata = gallery.info()["metadata"]
    assert json.loads(metadata["matcher"])["name"] == "grid"
    again = embed(config(images, tmp_path / "faces"))
    assert again.resumed
    assert again.summary == result.summary


@pytest.mark.parametrize(
    "more",
    [
        {"workers": 1},
        {"workers": 5},
        {"matcher": GRID + "staged"},
        {"devices": ("cpu", "cpu")},
        {"devices": ("cpu", "cpu", "cpu"), "matcher": GRID + "staged"},
    ],
)
def test_the_same_bytes_however_many_work(tmp_path, more):
    images = people(tmp_path / "images")
    embed(config(images, tmp_path / "one"))
    embed(config(images, tmp_path / "two", **more))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_pictures_without_a_face_can_be_dropped(tmp_path):
    images = people(tmp_path / "images")
    result = embed(config(images, tmp_path / "faces", missing="drop"))
    gallery = Gallery.open(tmp_path / "faces")
    assert len(gallery) == result.summary["faces"] == 150 - 22
    assert gallery.rows()["status"].unique().to_pylist() == ["ok"]


def test_the_matcher_of_the_caller(tmp_path):
    images = people(tmp_path / "images", 4)
    embed(config(images, tmp_path / "a"), matcher=StagedGridMatcher())
    embed(config(images, tmp_path / "b"), matcher=GridMatcher())
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    with pytest.raises(ValueError, match="one device"):
        embed(config(images, tmp_path / "c", devices=("cpu", "cpu")), matcher=GridMatcher())


def test_a_thousand_hostile_entries_are_each_listed(tmp_path):
    bad = hostile(tmp_path / "images")
    assert len(bad) == 1000
    result = embed(config(tmp_path / "images", tmp_path / "faces", workers=2), matcher=Tolerant())
    rows = pq.read_table(result.folder / "failures.parquet").to_pylist()
    assert {row["name"] for row in rows} == bad
    assert len(rows) == 1000
    assert all(row["reason"] for row in rows)
    assert {row["stage"] for row in rows} == {"list", "read", "decode"}
    table = Gallery.open(tmp_path / "faces").rows().to_pylist()
    assert [row["id"] for row in table if row["status"] == "ok"] == ["d0/dot.png", "d0/good.png"]
    again = embed(config(tmp_path / "images", tmp_path / "again", workers=3), matcher=Tolerant())
    assert tree(tmp_path / "faces") == tree(tmp_path / "again")
    failures = [(place.folder / "failures.parquet").read_bytes() for place in (result, again)]
    assert failures[0] == failures[1]


class Tolerant(GridMatcher):
    """Finds a face in a picture of any size."""

    def represent(self, image):
        return super().represent(np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="edge"))


SCAN = """
[run]
name = "{name}"
dir = "."
[synthetic]
{kind} = "synthetic{suffix}"
[training]
{kind} = "training{suffix}"
labels = "{labels}"
[holdout]
{kind} = "holdout{suffix}"
labels = "{labels}"
[matcher]
{matcher}
[calibration]
fpir = [0.15]
fmr = [0.02]
[statistics]
bootstrap = 200
permutations = 99
"""


def test_a_scan_over_the_galleries_equals_the_scan_over_the_pictures(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("training", "holdout"):
        for person in range(24):
            pixels = face(rng)
            for shot in range(2):
                noise = rng.integers(-3, 4, pixels.shape)
                save(
                    np.clip(pixels + noise, 1, 254).astype(np.uint8),
                    tmp_path / name / f"{name}-{person}" / f"{shot}.png",
                )
    for number in range(30):
        save(
            face(rng) if number else np.zeros((8, 8, 3), np.uint8),
            tmp_path / "synthetic" / f"s{number:02d}.png",
        )
    for name in ("synthetic", "training", "holdout"):
        embed(config(tmp_path / name, tmp_path / f"{name}-faces"))
    texts = {
        "pictures": SCAN.format(
            name="pictures", kind="images", suffix="", labels="folder", matcher=f'kind = "{GRID}grid"'
        ),
        "faces": SCAN.format(
            name="faces",
            kind="embeddings",
            suffix="-faces",
            labels="group",
            matcher='name = "grid"\nmetric = "l2"',
        ),
    }
    summaries = {}
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
        summaries[name] = scan(tmp_path / f"{name}.toml").summary
    first, second = summaries["pictures"], summaries["faces"]
    for summary in summaries.values():
        for part in summary["sets"].values():
            del part["labels"]
        # Sentences name the matcher, pairs are named by pseudonyms, and embeddings have no thumbnails.
        summary["checks"] = [check["numbers"] for check in summary["checks"]]
        for analysis in ("near_copies", "nearest_pairs"):
            del summary["analysis"][analysis]
    differ = {key for key in first if json.dumps(first[key]) != json.dumps(second[key])}
    assert differ <= {"run", "matcher", "inputs", "top_pairs", "config", "software"}
    for name in ("pairs", "images"):
        tables = [pq.read_table(tmp_path / run / f"{name}.parquet") for run in texts]
        assert tables[0].num_rows > 0
        for column in tables[0].column_names:
            if "pseudonym" not in column:
                assert tables[0][column].equals(tables[1][column]), column


def in_a_process(images, output, deaths, tmp_path, *more):
    command = [
        sys.executable, "-c", CLI, "embed", str(images), "-m", GRID + "deadly", "-o", str(output), "--json", *more
    ]  # fmt: skip
    environment = os.environ | {"IDSIM_TEST_COUNT": str(tmp_path / "count"), "IDSIM_TEST_DEATHS": deaths}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.run(command, check=False, capture_output=True, env=environment, text=True)


@pytest.mark.parametrize("devices", ["", "cpu,cpu"])
def test_killed_and_resumed(tmp_path, devices):
    images = people(tmp_path / "images", 60)
    more = ["--device", devices] if devices else []
    first = in_a_process(images, tmp_path / "a", "100,170,500", tmp_path, *more)
    assert first.returncode in (-9, 2)
    for _ in range(10):
        done = in_a_process(images, tmp_path / "a", "100,170,500", tmp_path, *more)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 300
    # What was finished before the kills was not done again: at most a shard per worker and kill.
    assert (tmp_path / "count").stat().st_size < 300 + 4 * 2 * 64
    (tmp_path / "count").write_bytes(b"")
    whole = in_a_process(images, tmp_path / "b", "0", tmp_path, *more)
    assert whole.returncode == 0, whole.stderr
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert (tmp_path / "a.embed" / "failures.parquet").read_bytes() == (
        tmp_path / "b.embed" / "failures.parquet"
    ).read_bytes()


def test_killed_between_the_last_steps(tmp_path, monkeypatch):
    images = people(tmp_path / "images", 6)
    embed(config(images, tmp_path / "whole"))
    from idsim.embedding import run

    for step in ("write_gallery", "write_table", "write_json", "sync_folder"):
        output = tmp_path / step
        with monkeypatch.context() as patch:
            patch.setattr(run, step, stop_after(getattr(run, step)))
            with pytest.raises(KeyboardInterrupt):
                embed(config(images, output))
        embed(config(images, output))
        assert tree(output) == tree(tmp_path / "whole")
        assert not (tmp_path / f"{step}.embed" / "shards").exists()


def stop_after(function):
    def stopped(*arguments, **options):
        function(*arguments, **options)
        raise KeyboardInterrupt

    return stopped


def test_what_is_refused(tmp_path):
    images = people(tmp_path / "images", 3)
    with pytest.raises(ValueError, match="'keep' or 'drop'"):
        config(images, tmp_path / "a", missing="lose")
    with pytest.raises(ValueError, match="one kind only: cpu, cuda"):
        config(images, tmp_path / "a", devices=("cpu", "cuda:0"))
    with pytest.raises(ValueError, match="is no matcher"):
        embed(config(images, tmp_path / "a", matcher="eyes"))
    with pytest.raises(CudaError, match="runs on the CPU"):
        embed(config(images, tmp_path / "a", require_gpu=True))
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileExistsError, match="nothing is ever overwritten"):
        embed(config(images, tmp_path / "taken"))
    embed(config(images, tmp_path / "a"))
    save(np.zeros((8, 8, 3), np.uint8), images / "p00" / "new.png")
    with pytest.raises(ValueError, match=r"another embedding: source\.images was 15 and is 16"):
        embed(config(images, tmp_path / "a"))
    with pytest.raises(ValueError, match="no picture has a face"):
        embed(config(images / "p00", tmp_path / "b"), matcher=Blind())


class Blind(GridMatcher):
    def represent(self, image):
        return super().represent(np.zeros_like(image))


def test_a_picture_that_changes_stops_the_run(tmp_path):
    images = people(tmp_path / "images", 3)

    class Meddler(GridMatcher):
        def represent(self, image):
            (images / "p01" / "1.png").write_bytes(b"other")
            return super().represent(image)

    with pytest.raises(ValueError, match="pictures changed while the run went on"):
        embed(config(images, tmp_path / "a"), matcher=Meddler())
