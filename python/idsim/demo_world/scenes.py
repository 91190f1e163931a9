"""Scenes: what changes from one picture of somebody to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from idsim.demo_world.chance import Chance, Colour, along, mixed

if TYPE_CHECKING:
    from idsim.demo_world.people import Person

WALLS: tuple[Colour, ...] = (
    (0.93, 0.90, 0.84), (0.62, 0.76, 0.86), (0.70, 0.80, 0.66), (0.90, 0.74, 0.62), (0.56, 0.58, 0.68),
    (0.84, 0.82, 0.90), (0.93, 0.90, 0.84),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (
    (0.20, 0.26, 0.38), (0.70, 0.25, 0.25), (0.93, 0.92, 0.90), (0.26, 0.46, 0.40), (0.88, 0.68, 0.28),
    (0.25, 0.24, 0.26),
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """One picture's pose, expression, light, surroundings and occlusion.

    Parameters
    ----------
    x, y, scale, roll : float
        Where the face lies, see `Canvas`.
    yaw, pitch : float
        Sine of the turn to the picture's right, and of the nod downwards.
    smile : float
        From -1 (corners of the mouth down) to 1.
    mouth_open, eyes_open : float
        From 0 (closed) to 1.
    gaze : float
        Where the eyes look, from -1 (left) to 1.
    brows : float
        How far the brows are raised, in halves of the side.
    gain : Colour
        Factors of the light on red, green and blue.
    light : tuple of float
        How much brighter the picture is at its right edge than in the middle, and at its lower edge.
    wall, clothes : Colour
        Colours of the surroundings.
    occlusion : str
        ``"none"``, ``"sunglasses"``, ``"mask"`` or ``"hand"``.
    side : int
        The side that a hand comes from: -1 or 1.
    """

    x: float
    y: float
    scale: float
    roll: float
    yaw: float
    pitch: float
    smile: float
    mouth_open: float
    eyes_open: float
    gaze: float
    brows: float
    gain: Colour
    light: tuple[float, float]
    wall: Colour
    clothes: Colour
    occlusion: str
    side: int


def scene(person: Person, image: int) -> Scene:
    """Return the scene of this picture of a person, a function of who it is and of the number.

    Raises
    ------
    ValueError
        When the number is negative.
    """
    if image < 0:
        raise ValueError(f"image must be 0 or more, not {image}")
    draw = chance(person, image)
    bright, warmth, tint = draw.between(0.80, 1.25), draw.around(0, 0.24), draw.around(0, 0.10)
    return Scene(
        x=draw.around(0, 0.07),
        y=0.05 + draw.around(0, 0.06),
        scale=draw.between(1.08, 1.22),
        roll=draw.around(0, 0.08),
        yaw=draw.around(0, 0.38),
        pitch=draw.around(0, 0.10),
        smile=draw.between(-0.35, 1.0),
        mouth_open=max(0.0, draw.between(-1.0, 1.0)),
        eyes_open=min(1.0, draw.between(0.65, 1.4)),
        gaze=draw.around(0, 1),
        brows=draw.around(0.0, 0.03),
        gain=(bright * (1 + warmth), bright * (1 + tint), bright * (1 - warmth)),
        light=(draw.between(-0.3, 0.3), draw.between(-0.2, 0.2)),
        wall=mixed(along(WALLS, draw.unit()), (0.15, 0.16, 0.2), draw.between(0, 0.35)),
        clothes=mixed(draw.pick(CLOTHES), draw.pick(CLOTHES), draw.between(0, 0.5)),
        occlusion=draw.pick(("sunglasses", "mask", "hand")) if draw.happens(0.09) else "none",
        side=draw.pick((-1, 1)),
    )


def chance(person: Person, image: int) -> Chance:
    """Return the draws that belong to this picture alone."""
    return Chance(f"idsim demo world/image/{person.population}/{person.number}/{image}")
