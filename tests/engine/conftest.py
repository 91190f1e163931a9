"""Fixtures of the engine tests: a seeded generator, and one run per instruction set."""

from __future__ import annotations

import os

import hypothesis
import numpy as np
import pytest

from idsim import _core, placement

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, max_examples=200)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=20_000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("IDSIM_HYPOTHESIS", "ci"))

ISAS = list(_core.available_isas())


@pytest.fixture
def rng():
    return np.random.default_rng(20_261_124)


@pytest.fixture(params=ISAS)
def isa(request):
    """Pin one instruction set for the test and go back to the best one."""
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(ISAS[-1])


# Where there is a CUDA device it is one engine more: the test bodies are the same.
DEVICES = [pytest.param("cuda", marks=pytest.mark.gpu)] if _core.build_info()["cuda_devices"] else []


@pytest.fixture(params=[*ISAS, *DEVICES])
def engine(request, monkeypatch):
    """Pin one instruction set, or the CUDA device, for the test."""
    if request.param == "cuda":
        monkeypatch.setattr(placement, "default_device", "cuda")
    else:
        _core.set_isa(request.param)
    yield request.param
    _core.set_isa(ISAS[-1])
