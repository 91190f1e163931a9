"""Ranged reads, and files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from idsim.errors import GalleryError
from idsim.files import InputFile, NewFile, hash_file, make_new_folder


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_new_file_appears_with_commit(tmp_path: Path) -> None:
    with NewFile(tmp_path / "a") as file:
        file.write(b"abc")
        file.write(memoryview(b"defg"))
        assert not (tmp_path / "a").exists()
        entry = file.commit()
    assert (tmp_path / "a").read_bytes() == b"abcdefg"
    assert entry == ("a", 7, hashlib.sha256(b"abcdefg").hexdigest())
    assert hash_file(tmp_path / "a") == entry
    assert names(tmp_path) == ["a"]


def test_a_rewritten_head_is_hashed(tmp_path: Path) -> None:
    with NewFile(tmp_path / "a") as file:
        file.write(b"0000" + b"x" * 10_000_000)
        file.rewrite_head(b"1234")
        with pytest.raises(ValueError, match="20000000 bytes"):
            file.rewrite_head(bytes(20_000_000))
        entry = file.commit()
    assert entry == hash_file(tmp_path / "a")
    assert (tmp_path / "a").read_bytes()[:6] == b"1234xx"


def test_without_commit_nothing_stays(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), NewFile(tmp_path / "a") as file:
        file.write(b"abc")
        raise RuntimeError("stop")
    assert names(tmp_path) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileExistsError, match="ever overwritten"):
        NewFile(tmp_path / "a")
    with NewFile(tmp_path / "b") as file:
        (tmp_path / "b").symlink_to("nowhere")
        with pytest.raises(FileExistsError, match="ever overwritten"):
            file.commit()
    with pytest.raises(FileExistsError, match="ever overwritten"):
        make_new_folder(tmp_path / "a")
    assert names(tmp_path) == ["a", "b"]


def test_what_is_committed_was_synced_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def spied_fsync(descriptor: int) -> None:
        calls.append("folder" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "file")
        fsync(descriptor)

    def spied_rename(path: Path, target: Path) -> Path:
        calls.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", spied_fsync)
    monkeypatch.setattr(Path, "rename", spied_rename)
    with NewFile(tmp_path / "a") as file:
        file.write(b"abc")
        file.commit()
    assert calls == ["file", "rename", "folder"]


def test_a_failed_sync_drops_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"), NewFile(tmp_path / "a") as file:
        file.write(b"abc")
        file.commit()
    assert names(tmp_path) == []


def test_short_reads_and_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, preadv = os.write, os.preadv
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: preadv(fd, [views[0][:2]], offset))
    with NewFile(tmp_path / "a") as file:
        file.write(bytes(range(100)))
        file.commit()
    with InputFile(tmp_path / "a") as source:
        assert source.read(1, 99) == bytes(range(1, 100))


def test_reads_outside_the_file_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with InputFile(tmp_path / "a") as file:
        assert file.read(3, 0) == b""
        for offset, count in ((0, 4), (4, 0), (-1, 1), (0, 1 << 60)):
            with pytest.raises(GalleryError, match="the file has 3 bytes"):
                file.read(offset, count)


def test_a_file_that_shrinks_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcdef")
    with InputFile(tmp_path / "a") as file:
        os.truncate(tmp_path / "a", 4)
        with pytest.raises(GalleryError, match="byte 4: the file ends here, 2 bytes early"):
            file.read(0, 6)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, reason in (
        (tmp_path / "fifo", "not a regular file"),
        (tmp_path, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path / "missing", "No such file"),
        (tmp_path / "nul\0name", "null"),
    ):
        with pytest.raises(GalleryError, match=reason):
            InputFile(path)
