"""The prepared codes on disk: written once, bound to their rows, checked like everything else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import idsim
from idsim import _core
from idsim.errors import GalleryError
from idsim.files import hash_file
from idsim.gallery import Gallery
from idsim.gallery.prepared import PREPARED
from support.manifests import rewritten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_the_arrays_are_the_engine_s(people: Gallery, matrix: np.ndarray) -> None:
    seen: list[tuple[int, int]] = []
    people.prepare(progress=lambda *done: seen.append(done))
    assert seen[-1] == (101, 101)
    codes = np.empty((101, _core.padded_dim(5)), np.uint8)
    scale, residual, norm = np.empty(101, np.float32), np.empty(101, np.float32), np.empty(101)
    _core.prepare(matrix, codes, scale, residual, norm, 1, False, None)
    for name, expected in (("codes", codes), ("scale", scale), ("residual", residual), ("norm", norm)):
        parts = [np.load(path) for path in sorted(people.path.glob(f"{name}-*.npy"))]
        assert len(parts) == 4
        assert np.concatenate(parts).tobytes() == expected.tobytes()
        assert parts[0].dtype == expected.dtype


def test_preparing_twice_changes_nothing(people: Gallery) -> None:
    people.prepare(threads=1)
    before = {file.name: file.stat().st_mtime_ns for file in people.path.iterdir()}
    again = Gallery.open(people.path)
    assert again.is_prepared
    assert again.info()["prepared_bytes"] == sum(
        file.stat().st_size
        for kind in ("codes", "scale", "residual", "norm")
        for file in people.path.glob(f"{kind}-*")
    )
    again.prepare()
    assert {file.name: file.stat().st_mtime_ns for file in people.path.iterdir()} == before


def test_the_bytes_do_not_depend_on_threads(matrix: np.ndarray, tmp_path: Path) -> None:
    digests = set()
    for threads in (1, 2, 5):
        gallery = Gallery.from_arrays(tmp_path / f"g{threads}", matrix, shard_rows=40)
        gallery.prepare(threads=threads)
        digests.add((gallery.path / PREPARED).read_bytes())
    assert len(digests) == 1


def test_a_killed_preparation_is_done_again(people: Gallery) -> None:
    code = f"""
import os, signal
from idsim.gallery import Gallery
gallery = Gallery.open({str(people.path)!r})
def die(done, total):
    if done > 60:
        os.kill(os.getpid(), signal.SIGKILL)
gallery.prepare(progress=die)
"""
    before = names(people.path)
    process = subprocess.run([sys.executable, "-c", code], check=False)
    assert process.returncode == -signal.SIGKILL
    assert "codes-00000.npy" in names(people.path)
    gallery = Gallery.open(people.path)
    assert not gallery.is_prepared
    gallery.verify()
    gallery.prepare()
    kinds = {f"{kind}-{n:05d}.npy" for kind in ("codes", "scale", "residual", "norm") for n in range(4)}
    assert names(people.path) == before | kinds | {PREPARED}
    gallery.verify()


def test_flipped_bytes_are_found(people: Gallery) -> None:
    people.prepare()
    people.verify()
    for name in ("codes-00001.npy", "norm-00003.npy"):
        path = people.path / name
        data = path.read_bytes()
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 4]) + data[-8:])
        with pytest.raises(GalleryError, match=f"{name}: sha256"):
            people.verify()
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(format="idsim-gallery"), "manifest.format"),
        (lambda m: m.update(version=3), "version: is 3; this idsim reads version 1"),
        (lambda m: m.update(gallery="0" * 64), "names other rows"),
        (lambda m: m.update(padded_dim=128), "do not fit"),
        (lambda m: m["shards"].pop(), "do not fit"),
        (lambda m: m.update(more=1), "not a key"),
        (lambda m: m["shards"][0].pop("norm"), "norm: is missing"),
        (lambda m: m["shards"][0]["norm"].update(file="norm-00001.npy"), "norm.file"),
    ],
)
def test_manifests_that_are_refused(
    people: Gallery, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    people.prepare()
    rewritten(people.path, change, PREPARED)
    with pytest.raises(GalleryError, match=reason):
        Gallery.open(people.path)


def test_a_manifest_that_was_edited(people: Gallery) -> None:
    people.prepare()
    text = (people.path / PREPARED).read_text()
    (people.path / PREPARED).write_text(text.replace('"bytes": 368', '"bytes": 369'))
    with pytest.raises(GalleryError, match="sha256"):
        Gallery.open(people.path)


def test_codes_of_another_shape(people: Gallery) -> None:
    people.prepare()
    for name, array in (
        ("codes-00000.npy", np.zeros((30, 128), np.uint8)),
        ("norm-00000.npy", np.zeros(30, np.float32)),
    ):
        path = people.path / name
        data = path.read_bytes()
        np.save(path, array)
        with pytest.raises(GalleryError, match=f"{name}: npy header"):
            Gallery.open(people.path)
        path.write_bytes(data)


def test_a_failed_preparation_leaves_the_gallery_as_it_was(
    people: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        people.prepare(progress=stop)
    assert not people.is_prepared
    assert not [name for name in names(people.path) if name.endswith(".tmp")]
    assert len(people.search(np.ones((1, 5), np.float32), 2).ids) == 1
    os.utime(people.path)
    assert idsim.search(np.ones((1, 5), np.float32), people, 2).ids.shape == (1, 2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_an_index_is_saved_and_loaded(tmp_path: Path, matrix: np.ndarray, metric: Any, dtype: type) -> None:
    rows = matrix.astype(dtype)
    index = idsim.Index(rows, metric=metric)
    index.save(tmp_path / "index")
    loaded = idsim.Index.load(tmp_path / "index")
    expected = index.search(rows[:9], 20)
    for result in (
        loaded.search(rows[:9], 20),
        Gallery.open(tmp_path / "index").search(rows[:9], 20, metric=metric),
    ):
        assert result.scores.tobytes() == expected.scores.tobytes()
        assert result.ids.tobytes() == expected.ids.tobytes()
    assert (loaded.metric, len(loaded), loaded.dim) == (metric, 101, 5)
    Gallery.open(tmp_path / "index").verify()
    with pytest.raises(FileExistsError):
        index.save(tmp_path / "index")


def test_an_index_with_rows_left_out(tmp_path: Path, matrix: np.ndarray) -> None:
    matrix[50] = np.nan
    index = idsim.Index(matrix, nonfinite="skip")
    index.save(tmp_path / "index")
    loaded = idsim.Index.load(tmp_path / "index")
    assert loaded.info()["skipped_rows"] == 1
    assert loaded.search(matrix[:3], 101).ids.tobytes() == index.search(matrix[:3], 101).ids.tobytes()


def test_folders_that_are_no_index(people: Gallery) -> None:
    with pytest.raises(GalleryError, match="has no codes"):
        idsim.Index.load(people.path)
    people.prepare()
    with pytest.raises(GalleryError, match="metadata.metric: is None"):
        idsim.Index.load(people.path)


def test_false_codes_with_true_checksums(people: Gallery) -> None:
    people.prepare()
    people.verify(recompute=True)
    path = people.path / "codes-00001.npy"
    codes = np.load(path)
    codes[3, 2] += 1
    np.save(path, codes)
    rewritten(people.path, lambda m: m["shards"][1]["codes"].update(hash_file(path)._asdict()), PREPARED)
    gallery = Gallery.open(people.path)
    gallery.verify()
    with pytest.raises(GalleryError, match=r"codes-00001.npy: row 3: this is not the code"):
        gallery.verify(recompute=True)
