"""Finished runs, made once for all tests of the page."""

from __future__ import annotations

import pytest

from idsim.images import decode, sha256
from idsim.sources.decoding import Content
from report.page import worlds


class DecoderHere:
    """Decodes in this process: what the processes of a pool do has its own tests, and starting them takes seconds."""

    def decode(self, reads):
        for read in reads:
            data = read()
            yield Content(sha256(data), decode(data))

    def close(self):
        pass


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
def vectors_run(tmp_path_factory):
    """A scan of embeddings alone."""
    return worlds.scan_vectors(tmp_path_factory.mktemp("vectors"))
