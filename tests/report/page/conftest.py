"""Finished runs, made once for all tests of the page."""

from __future__ import annotations

import pytest

from report.page import worlds


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
