"""Finished runs, made once for all tests of the page."""

from __future__ import annotations

import pytest

from report.page import worlds
from report.page.worlds import DecoderHere


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return worlds.write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def pictures_run(world):
    """A scan of pictures with two matchers."""
    return worlds.scan_pictures(world)


@pytest.fixture(scope="session")
def series_run(world):
    """A scan of two models at two truncations."""
    return worlds.scan_series(world)


@pytest.fixture(scope="session")
def vectors_run(one):
    """A scan of embeddings alone, with a hostile name of the matcher."""
    return one


@pytest.fixture
def figures():
    """Asked for by tests that need figures in pages: they take most of the time."""


@pytest.fixture
def few(monkeypatch):
    """Only the first figures."""
    monkeypatch.setattr("idsim.report.figures.MOST", 4)


@pytest.fixture
def processes():
    """Asked for by tests that need the processes that decode pictures."""


@pytest.fixture
def quick(request, monkeypatch):
    """Pages without what takes most of the time, unless a test asks for it."""
    if "processes" not in request.fixturenames:
        monkeypatch.setattr("idsim.report.thumbnails.DecoderPool", DecoderHere)
    if "figures" not in request.fixturenames:
        monkeypatch.setattr("idsim.report.page.drawn", lambda run: None)
