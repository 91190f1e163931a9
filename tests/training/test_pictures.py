"""The trainer's pictures: crops, the order of the batches, and what is refused."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pictures(trainer_folder):
    return importlib.import_module("pictures")


def paint(path, width, height, level=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (level, 0, 255 - level)).save(path)


def test_the_middle_square_at_the_resolution(pictures, tmp_path):
    picture = Image.new("RGB", (60, 20), (255, 0, 0))
    picture.paste((0, 0, 255), (20, 0, 40, 20))
    picture.save(tmp_path / "wide.png")
    square = pictures.square(tmp_path / "wide.png", 8)
    assert square.shape == (3, 8, 8)
    assert square[2].min() > 230
    assert square[:2].max() < 25


def test_the_resolution_that_enlarges_no_picture(pictures, tmp_path):
    paint(tmp_path / "a.png", 100, 70)
    paint(tmp_path / "deep" / "b.JPG", 64, 300)
    paths = pictures.find(tmp_path)
    assert [path.name for path in paths] == ["a.png", "b.JPG"]
    assert pictures.fitting_resolution(paths) == 64
    paint(tmp_path / "c.png", 7, 7)
    with pytest.raises(SystemExit, match="side of 7 pixels"):
        pictures.fitting_resolution(pictures.find(tmp_path))


def test_the_array_is_made_once_and_of_these_pictures(pictures, tmp_path):
    paint(tmp_path / "in" / "a.png", 16, 16, 10)
    paint(tmp_path / "in" / "b.png", 16, 16, 20)
    cache = tmp_path / "pictures.npy"
    array = pictures.prepare(pictures.find(tmp_path / "in"), 8, cache)
    assert array[:, 0, 0, 0].tolist() == [10, 20]
    written = cache.stat().st_mtime_ns
    again = pictures.prepare(pictures.find(tmp_path / "in"), 8, cache)
    assert cache.stat().st_mtime_ns == written
    assert pictures.fingerprint(again) == pictures.fingerprint(array)
    assert pictures.fingerprint(array[::-1]) != pictures.fingerprint(array)
    with pytest.raises(SystemExit, match="other pictures"):
        pictures.prepare(pictures.find(tmp_path / "in"), 16, cache)


def test_refused_folders_and_files(pictures, tmp_path):
    with pytest.raises(SystemExit, match="no pictures"):
        pictures.find(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match=r"a\.png: not a picture"):
        pictures.square(tmp_path / "a.png", 8)
    whole = tmp_path / "b.png"
    Image.effect_noise((64, 64), 50).save(whole)
    whole.write_bytes(whole.read_bytes()[:1500])
    with pytest.raises(SystemExit, match=r"b\.png: cannot be read"):
        pictures.square(whole, 8)


def numbered(count):
    """Picture i has the level i on its left and 200 on its right."""
    array = np.full((count, 3, 4, 4), 200, np.uint8)
    array[:, :, :, :2] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return array


def levels(batch):
    return np.rint((batch + 1) * 127.5).astype(int)


def test_every_pass_shows_every_picture_once_in_an_order_of_its_own(pictures):
    array = numbered(10)
    shown = [pictures.batch(array, 3, seen, 4, mirror=False) for seen in range(0, 20, 4)]
    order = levels(np.concatenate(shown))[:, 0, 0, 0].tolist()
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10] != order[10:]
    assert shown[0].dtype == np.float32
    assert -1 <= shown[0].min() <= shown[0].max() <= 1


def test_a_batch_is_a_function_of_its_place(pictures):
    array = numbered(10)
    whole = pictures.batch(array, 3, 0, 24, mirror=True)
    parts = [pictures.batch(array, 3, seen, 6, mirror=True) for seen in (0, 6, 12, 18)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert not np.array_equal(whole, pictures.batch(array, 4, 0, 24, mirror=True))


def test_half_of_the_pictures_are_mirrored(pictures):
    batch = levels(pictures.batch(numbered(100), 0, 0, 100, mirror=True))
    mirrored = batch[:, 0, 0, 0] == 200
    assert 35 <= mirrored.sum() <= 65
    assert (batch[mirrored, 0, 0, 3] < 100).all()
