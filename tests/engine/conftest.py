"""Fixtures of the engine tests: a seeded generator, and one run per instruction set."""

from __future__ import annotations

import os

import hypothesis
import numpy as np
import pytest

from idsim import _core

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
