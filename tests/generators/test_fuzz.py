"""A reduced run of the fuzzer of checkpoints; ``python -m support.fuzz_checkpoints`` is the whole one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from idsim.generators.stylegan2 import loading
from support import fuzz_checkpoints
from support.checkpoint_mutations import mutation, seeds


def test_a_thousand_damaged_files():
    result = fuzz_checkpoints.run(0, 1000)
    assert result["found"] == []
    assert set(result["counts"]) == {"refused", "loaded"}
    assert sum(result["counts"].values()) == 1000


def test_cases_are_reproducible_and_cover_every_format():
    cases = [mutation(number) for number in range(200)]
    assert cases == [mutation(number) for number in range(200)]
    assert {name for name, _ in cases} == set(seeds())


def wrong_key() -> None:
    raise KeyError(1)


def run_text() -> None:
    exec("1")


def import_module() -> None:
    import wave  # noqa: F401


def open_another() -> None:
    Path("/dev/null").open("rb").close()


def take_memory() -> None:
    bytearray(1 << 30)


def hang() -> None:
    while True:
        pass


FAULTS = {
    wrong_key: "foreign",
    run_text: "execution",
    import_module: "execution",
    open_another: "execution",
    take_memory: "memory",
    hang: "hang",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fuzzer_sees_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], None]):
    """Each fault is planted where the reader begins."""
    path = tmp_path / "case"
    path.write_bytes(next(iter(seeds().values())))
    monkeypatch.setattr(loading, "read_checkpoint", lambda *_: fault())
    monkeypatch.setattr(fuzz_checkpoints, "SECONDS", 0.2)
    assert fuzz_checkpoints.examine(path)[0] == FAULTS[fault]
