"""The thread that reads ahead: order, errors, early ends, files that change under it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from idsim.errors import GalleryError
from idsim.files import InputFile
from idsim.gallery import Gallery
from idsim.gallery.streaming import read_ahead


@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 20])
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_tasks_come_in_order_and_slots_are_not_reused_early(tasks: int, slots: int) -> None:
    content = [-1] * slots

    def fill(task: int, slot: int) -> None:
        content[slot] = task

    seen = []
    for task, slot in read_ahead(tasks, slots, fill):
        time.sleep(0.001)
        assert content[slot] == task
        seen.append(task)
    assert seen == list(range(tasks))


def test_an_error_comes_at_its_task() -> None:
    def fill(task: int, slot: int) -> None:
        if task == 3:
            raise GalleryError("file", "row 3", "gone")

    seen = []
    with pytest.raises(GalleryError, match="row 3"):
        for task, _ in read_ahead(10, 3, fill):
            seen.append(task)
    assert seen == [0, 1, 2]


def test_the_thread_reads_ahead_and_no_further() -> None:
    filled = threading.Semaphore(0)
    stream = read_ahead(10, 3, lambda task, slot: filled.release())
    next(stream)
    assert all(filled.acquire(timeout=5) for _ in range(3))
    assert not filled.acquire(timeout=0.05)
    stream.close()


def test_a_stream_that_is_left_ends_its_thread(plain: Gallery) -> None:
    stream = plain.blocks(10)
    next(stream)
    assert any(thread.name == "idsim-read-ahead" for thread in threading.enumerate())
    stream.close()
    assert not any(thread.name == "idsim-read-ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("length", [0, 1, 127, 128, 129, 500])
def test_a_shard_truncated_before_opening(plain: Gallery, length: int) -> None:
    os.truncate(plain.path / "vectors-00002.npy", length)
    with pytest.raises(GalleryError, match=r"vectors-00002\.npy"):
        Gallery.open(plain.path)


def test_a_shard_truncated_after_opening(plain: Gallery, matrix: np.ndarray) -> None:
    os.truncate(plain.path / "vectors-00002.npy", 500)
    seen = []
    with pytest.raises(GalleryError, match=r"vectors-00002.npy: size: the file has 500 bytes, it had 728"):
        for _, block in plain.blocks(10):
            seen.append(block.copy())
    assert np.concatenate(seen).tobytes() == matrix[:60].tobytes()
    with pytest.raises(GalleryError, match="size"):
        plain.vectors(60, 61)
    with pytest.raises(GalleryError, match="size"):
        plain.take([3, 70])
    (plain.path / "vectors-00002.npy").unlink()
    with pytest.raises(GalleryError, match="No such file"):
        plain.take([70])


def test_a_shard_truncated_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery.from_arrays(tmp_path / "g", np.ones((100, 4), np.float32))
    read_into = InputFile.read_into

    def shrinking(file: InputFile, buffer: object, offset: int) -> None:
        if offset > 800:
            os.truncate(file.path, 1000)
        read_into(file, buffer, offset)  # type: ignore[arg-type]

    monkeypatch.setattr(InputFile, "read_into", shrinking)
    with pytest.raises(GalleryError, match="byte 1000: the file ends here"):
        for _ in gallery.blocks(5):
            pass


def test_another_array_under_the_name_of_a_shard(plain: Gallery) -> None:
    path = plain.path / "vectors-00001.npy"
    path.unlink()
    np.save(path, np.zeros((30, 5), np.float64))
    with pytest.raises(GalleryError, match=r"the array is <f8 \(30, 5\), expected is <f4 \(30, 5\)"):
        Gallery.open(plain.path)
