"""Matchers of a few lines, opened by ``file.py:function`` in every process that embeds."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np

from idsim.matchers.base import Representation


class GridMatcher:
    """Mean colours of a 4 x 4 grid; a black picture has no face, a white one no finite embedding."""

    name = "grid"
    metric = "l2"
    dim = 48

    def describe(self):
        return {"name": self.name, "metric": self.metric, "dim": self.dim, "licence": "none"}

    def represent(self, image):
        crop = crop_of(image)
        if crop is None:
            return Representation(None)
        return Representation(vector_of(crop), "detected", 1, (0, 0, 4, 4), 1.0)


class StagedGridMatcher(GridMatcher):
    """The same in two stages."""

    def prepare(self, image):
        crop = crop_of(image)
        return (
            (Representation(None), None)
            if crop is None
            else (Representation(None, "detected", 1, (0, 0, 4, 4), 1.0), crop)
        )

    def embed(self, crops):
        return np.array([vector_of(crop) for crop in crops])


def crop_of(image):
    """The middle 4 x 4 pixels; None of a black picture."""
    top, left = ((side - 4) // 2 for side in image.shape[:2])
    return image[top : top + 4, left : left + 4].copy() if image.any() else None


def vector_of(crop):
    vector = (crop.reshape(-1) / 64).astype(np.float32)
    return np.full_like(vector, np.nan) if crop.all() and (crop == 255).all() else vector


def grid(device):
    return GridMatcher()


def staged(device):
    return StagedGridMatcher()


class Deadly(GridMatcher):
    """Kills its process at the picture whose number the environment holds, once for every number."""

    def represent(self, image):
        place = Path(os.environ["IDSIM_TEST_COUNT"])
        with place.open("a") as file:
            file.write("x")
        if place.stat().st_size in map(int, os.environ["IDSIM_TEST_DEATHS"].split(",")):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().represent(image)


def deadly(device):
    return Deadly()
