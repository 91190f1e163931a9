"""What every test shares: the report header, and the marks that skip what the machine lacks."""

from __future__ import annotations

import os

# Before anything imports onnxruntime, whose wheels send events otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import pytest

from idsim import _core


def pytest_report_header() -> list[str]:
    info = _core.build_info()
    return ["idsim: " + ", ".join(f"{name} {value}" for name, value in info.items())]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _core.build_info()["cuda_devices"]:
        return
    skip = pytest.mark.skip(reason="needs a CUDA device and a build with the CUDA backend")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
