"""Arrays on the device for every test of it."""

from __future__ import annotations

import sys

import pytest

from support import device_arrays


@pytest.fixture(autouse=True)
def _library_of_device_arrays(monkeypatch):
    # idsim allocates with the top-level module of the queries' class.
    monkeypatch.setattr(sys.modules["support"], "empty", device_arrays.empty, raising=False)
