"""The lock of a run folder: who may be in it at once, and who removes what killed processes left."""

from __future__ import annotations

import threading
import time

import pytest

from idsim.audit import folder
from idsim.audit.folder import locked


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "CLEANING_SECONDS", 0.1)
    return tmp_path / "run"


def leave(run):
    left = run / "embed" / ".shard-000000.bin.123.0a1b2c3d.tmp"
    left.parent.mkdir(exist_ok=True)
    left.touch()
    return left


def test_whoever_is_alone_removes_leftovers(run):
    for shared in (False, True):
        with locked(run):
            left = leave(run)
            (run / "provenance.json").touch()
        with locked(run, shared=shared):
            assert not left.exists()


def test_leftovers_may_belong_to_a_job_that_works(run):
    with locked(run, shared=True):
        left = leave(run)
        (run / "provenance.json").touch()
        with locked(run, shared=True):
            assert left.exists()
        with locked(run, name=".merge"):
            assert left.exists()


def test_jobs_keep_others_out_and_others_keep_jobs_out(run):
    for first, second in ((True, False), (False, True), (False, False)):
        with (
            locked(run, shared=first),
            pytest.raises(ValueError, match="another process works on the run"),
            locked(run, shared=second),
        ):
            pass


def test_a_job_waits_while_the_first_one_cleans(run, monkeypatch):
    monkeypatch.setattr(folder, "CLEANING_SECONDS", 30.0)
    inside, entered = threading.Event(), []

    def clean():
        with locked(run):
            inside.set()
            time.sleep(0.3)
            entered.append("first")

    first = threading.Thread(target=clean)
    first.start()
    inside.wait()
    with locked(run, shared=True):
        entered.append("second")
    first.join()
    assert entered == ["first", "second"]
