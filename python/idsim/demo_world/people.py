"""People: what does not change from one picture of somebody to the next."""

from __future__ import annotations

from dataclasses import dataclass

from idsim.demo_world.chance import Chance, Colour, along, mixed

HAIR_STYLES = (
    "bald", "crop", "parted", "fringe", "quiff", "curls", "bun", "bob", "long", "pigtails",
)  # fmt: skip
BEARDS = ("none", "stubble", "full", "goatee", "moustache")
SKINS: tuple[Colour, ...] = (
    (0.98, 0.84, 0.75), (0.93, 0.73, 0.59), (0.80, 0.58, 0.42), (0.62, 0.41, 0.28), (0.41, 0.26, 0.19),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (0.09, 0.08, 0.09), (0.22, 0.14, 0.10), (0.42, 0.26, 0.15), (0.62, 0.31, 0.14), (0.86, 0.68, 0.36),
    (0.66, 0.65, 0.65), (0.92, 0.91, 0.89),
)  # fmt: skip
DYES: tuple[Colour, ...] = (
    (0.25, 0.42, 0.72), (0.80, 0.32, 0.50), (0.25, 0.55, 0.42), (0.50, 0.30, 0.62),
)  # fmt: skip
IRISES: tuple[Colour, ...] = (
    (0.15, 0.09, 0.06), (0.38, 0.22, 0.10), (0.30, 0.46, 0.24), (0.20, 0.44, 0.72), (0.45, 0.52, 0.56),
)  # fmt: skip
FRAMES: tuple[Colour, ...] = (
    (0.08, 0.08, 0.10), (0.45, 0.22, 0.12), (0.70, 0.14, 0.16), (0.15, 0.25, 0.50),
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """One drawn person. Lengths are halves of the picture's side; colours are red, green, blue in [0, 1].

    Parameters
    ----------
    population : str
        The set of people that this one belongs to.
    number : int
        The place in the population, from 0.
    width, height : float
        Half of the head's width and height.
    jaw : float
        How much the head narrows to the chin; below 0 it widens.
    square : bool
        An angular head instead of a round one.
    ears : float
        Radius of the ears.
    skin, hair, grown, iris : Colour
        Colours under white light; `grown` is that of the beard, and of the hair unless it is dyed.
    hair_style : str
        One of `HAIR_STYLES`.
    hairline : float
        Height of the forehead's upper edge above the head's centre.
    parting : float
        Where the hair parts, from -1 (the picture's left) to 1.
    volume : float
        How far the hair stands off the head.
    length : float
        How far down long hair reaches.
    eye_apart, eye_height, eye_width, eye_open, eye_tilt : float
        Distance of an eye from the middle, height above the head's centre, half-axes, and rise to the outside.
    iris_size : float
        Radius of the iris as a share of the eye's half-height.
    brow_height, brow_width, brow_thick, brow_tilt, brow_bend : float
        The same of the brows, over the eye; bend is how much they arch.
    nose_width, nose_length : float
        Half-width of the nose's tip, and length.
    mouth_width, mouth_height, lips : float
        Half-width, distance below the head's centre, half-height of the lips.
    lip_red : float
        How red the lips are, from 0 to 1.
    blush : float
        How red the cheeks are, from 0 to 1.
    beard : str
        One of `BEARDS`.
    freckles : bool
        Freckles on both cheeks.
    mole : tuple of float or None
        Place of a mole: right of the middle as a share of the width, and below the head's centre.
    glasses : tuple of float, float and Colour, or None
        Radius and squareness (0 or 1) of the glasses, and their colour.
    """

    population: str
    number: int
    width: float
    height: float
    jaw: float
    square: bool
    ears: float
    skin: Colour
    hair: Colour
    grown: Colour
    iris: Colour
    hair_style: str
    hairline: float
    parting: float
    volume: float
    length: float
    eye_apart: float
    eye_height: float
    eye_width: float
    eye_open: float
    eye_tilt: float
    iris_size: float
    brow_height: float
    brow_width: float
    brow_thick: float
    brow_tilt: float
    brow_bend: float
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_height: float
    lips: float
    lip_red: float
    blush: float
    beard: str
    freckles: bool
    mole: tuple[float, float] | None
    glasses: tuple[float, bool, Colour] | None


def person(population: str, number: int) -> Person:
    """Return the person with this number in a population: a function of both, and of nothing else.

    Parameters
    ----------
    population : str
        Any name. Populations of different names are drawn independently: nobody is in two of them.
    number : int
        From 0.

    Returns
    -------
    Person
        The same for the same arguments, with every version of Python and NumPy.

    Raises
    ------
    ValueError
        When the number is negative.
    """
    if number < 0:
        raise ValueError(f"number must be 0 or more, not {number}")
    draw = Chance(f"idsim demo world/person/{population}/{number}")
    style = draw.pick(HAIR_STYLES)
    width = draw.around(0.49, 0.12)
    eye_width = draw.between(0.095, 0.165)
    return Person(
        population=population,
        number=number,
        width=width,
        height=draw.around(0.57, 0.12),
        jaw=draw.between(-0.10, 0.32),
        square=draw.happens(0.35),
        ears=draw.between(0.07, 0.15),
        skin=_skin(draw),
        grown=(grown := along(HAIRS, draw.unit())),
        hair=_dyed(draw, grown),
        iris=mixed(draw.pick(IRISES), draw.pick(IRISES), draw.between(0, 0.3)),
        hair_style=style,
        hairline=draw.between(0.22, 0.42),
        parting=draw.between(-1, 1),
        volume=draw.between(0.05, 0.16),
        length=draw.between(0.35, 0.95),
        eye_apart=width * draw.between(0.36, 0.53),
        eye_height=draw.between(0.00, 0.12),
        eye_width=eye_width,
        eye_open=eye_width * draw.between(0.55, 1.05),
        eye_tilt=draw.between(-0.30, 0.40),
        iris_size=draw.between(0.55, 0.95),
        brow_height=draw.between(0.06, 0.14),
        brow_width=draw.between(0.11, 0.19),
        brow_thick=draw.between(0.018, 0.055),
        brow_tilt=draw.between(-0.2, 0.35),
        brow_bend=draw.between(0.0, 2.5),
        nose_width=draw.between(0.045, 0.13),
        nose_length=draw.between(0.12, 0.24),
        mouth_width=draw.between(0.13, 0.28),
        mouth_height=draw.between(0.28, 0.37),
        lips=draw.between(0.028, 0.075),
        lip_red=draw.unit(),
        blush=max(0.0, draw.between(-0.5, 1.0)),
        beard=draw.pick(BEARDS) if draw.happens(0.45) else "none",
        freckles=draw.happens(0.12),
        mole=(draw.pick((-1, 1)) * draw.between(0.25, 0.6), draw.between(0.1, 0.5))
        if draw.happens(0.15)
        else None,
        glasses=(draw.between(0.15, 0.21), draw.happens(0.5), draw.pick(FRAMES))
        if draw.happens(0.22)
        else None,
    )


def _skin(draw: Chance) -> Colour:
    red, green, blue = along(SKINS, draw.unit())
    warmth, light = draw.around(0, 0.05), draw.around(1, 0.08)
    return min(1.0, red * light), green * light * (1 - warmth / 2), blue * light * (1 - warmth)


def _dyed(draw: Chance, grown: Colour) -> Colour:
    dye, dyed = draw.pick(DYES), draw.happens(0.1)
    return mixed(grown, dye, 0.85) if dyed else grown
