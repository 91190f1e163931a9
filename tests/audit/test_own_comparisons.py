"""A set is compared with itself strip by strip: cutting changes no byte, and the device asked for does it."""

from __future__ import annotations

import pytest

from idsim.audit.pairs import pairing
from idsim.audit.proving.made_up import Population, make_population, write_population
from idsim.audit.run import scan

SMALL = Population(persons=60, clusters=40, leaks=8, dim=32)


def scanned(folder):
    config = write_population(make_population(SMALL), folder)
    config.write_text(
        config.read_text().replace("fpir = [0.01]", "fpir = [0.1]").replace("fmr = [1e-5]", "fmr = [1e-2]")
        + "[statistics]\nbootstrap = 100\npermutations = 100\n"
    )
    run = scan(config).folder
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted(run.rglob("*.bin"))}


@pytest.mark.parametrize("strip", [1, 7, 64])
def test_strips_change_no_byte(tmp_path, monkeypatch, strip):
    whole = scanned(tmp_path / "whole")
    monkeypatch.setattr(pairing, "STRIP", strip)
    assert scanned(tmp_path / "cut") == whole
    assert any("HxH" in name for name in whole)


def test_the_device_is_asked_for_sets_with_themselves_too(tmp_path, monkeypatch):
    asked = []

    def above(*arguments, device, **options):
        asked.append(device)
        return exact(*arguments, device=None, **options)

    def prepared(vectors, *, metric, device):
        return index(vectors, metric=metric)

    exact, index = pairing.pairs_above, pairing.Index
    monkeypatch.setattr(pairing, "pairs_above", above)
    monkeypatch.setattr(pairing, "Index", prepared)
    config = write_population(make_population(SMALL), tmp_path / "data")
    config.write_text(
        config.read_text().replace("fpir = [0.01]", "fpir = [0.1]").replace("fmr = [1e-5]", "fmr = [1e-2]")
        + '[comparisons]\ndevice = "cuda"\n[statistics]\nbootstrap = 100\npermutations = 100\n'
    )
    scan(config)
    assert asked
    assert set(asked) == {"cuda"}
