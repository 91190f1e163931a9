"""Portraits: a person in one pose, with one expression, under one light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idsim.demo_world.canvas import Blob, Canvas
from idsim.demo_world.chance import mixed
from idsim.demo_world.face import (
    Face,
    paint_beard,
    paint_cheeks,
    paint_eyes,
    paint_glasses,
    paint_head,
    paint_mouth,
    paint_nose,
    paint_occlusion,
)
from idsim.demo_world.hair import paint_hair, paint_hair_behind
from idsim.demo_world.scenes import Scene, chance, scene

if TYPE_CHECKING:
    from idsim.demo_world.people import Person

GRAIN = 0.012  # Of full brightness: about the noise of a camera in a room.


def portrait(person: Person, image: int, size: int = 32) -> np.ndarray:
    """One picture of a person.

    Parameters
    ----------
    person : Person
        Who is drawn.
    image : int
        Number of the picture, from 0: it decides pose, expression, light, surroundings and occlusion.
    size : int
        Pixels of a side, at least 8.

    Returns
    -------
    ndarray
        uint8 ``[size, size, 3]``, red, green and blue. The same bytes for the same arguments on every machine.

    Raises
    ------
    ValueError
        When the number is negative, or the size below 8.
    """
    if size < 8:
        raise ValueError(f"size must be 8 pixels or more, not {size}")
    view = scene(person, image)
    canvas = Canvas(size, view.x, view.y, view.scale, view.roll)
    for plane, part in zip(canvas.colours, view.wall, strict=True):
        plane[:] = part
    canvas.paint(Blob(0.3, -0.2, 0.9, 0.9, soft=0.9), mixed(view.wall, (1, 1, 1), 0.35))
    face = Face(person, view, canvas)
    paint_hair_behind(face)
    paint_head(face)
    paint_cheeks(face)
    paint_beard(face)
    paint_mouth(face)
    paint_nose(face)
    paint_hair(face)
    paint_eyes(face)
    paint_glasses(face)
    paint_occlusion(face)
    lit = _lit(canvas.finished(), view) + np.float32(GRAIN) * chance(person, image).grain(3, size, size)
    levels = np.clip(lit * np.float32(255) + np.float32(0.5), np.float32(0), np.float32(255))
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 0))


def _lit(colours: np.ndarray, view: Scene) -> np.ndarray:
    """Under the scene's light: coloured, brighter to one side, and bent at the bright end instead of clipped."""
    places = (np.arange(colours.shape[1], dtype=np.float32) * 2 + 1) / np.float32(
        colours.shape[1]
    ) - np.float32(1)
    right, down = (np.float32(part) for part in view.light)
    slope = np.float32(1) + right * places + down * places[:, None]
    lit = colours * np.array(view.gain, np.float32)[:, None, None] * slope
    return np.asarray(lit - np.float32(0.10) * lit * lit * lit)
