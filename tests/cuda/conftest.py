"""Arrays on the device for every test of it."""

from __future__ import annotations

import pytest

from support import device_arrays


@pytest.fixture(autouse=True)
def _library_of_device_arrays(monkeypatch):
    device_arrays.install(monkeypatch)
