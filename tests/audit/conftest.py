"""A generator of random numbers for every test of the audit."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(20210105)
