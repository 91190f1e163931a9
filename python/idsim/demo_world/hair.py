"""Hair: what hangs behind the head, and what lies on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsim.demo_world.canvas import Blob
from idsim.demo_world.chance import mixed, shaded

if TYPE_CHECKING:
    from idsim.demo_world.face import Face


def paint_hair_behind(face: Face) -> None:
    """Paint long hair, curls, buns and tails, before the head is painted over them."""
    who, canvas = face.person, face.canvas
    dark, wide, high = shaded(who.hair, 0.82), who.width + who.volume, who.height + who.volume
    aside = -0.2 * who.width * face.scene.yaw  # The back of the head turns the other way.
    if who.hair_style in ("long", "bob"):
        end = who.length if who.hair_style == "long" else 0.5 * who.length
        middle = (end - high) / 2
        straight = who.parting > 0
        canvas.paint(Blob(aside, middle, wide * 1.04, (end + high) / 2, taper=-0.12, square=straight), dark)
    elif who.hair_style == "curls":
        ring = ((0.0, -1.0), (0.6, -0.85), (0.95, -0.45), (1.02, 0.0), (0.92, 0.4))
        size = 0.15 + who.volume
        for right, down in ring:
            for side in (-1, 1) if right else (1,):
                canvas.paint(Blob(aside + side * right * who.width, down * who.height, size, size), dark)
    elif who.hair_style == "bun":
        canvas.paint(Blob(0.4 * who.parting * who.width + aside, -high - 0.02, 0.2, 0.17), dark)
    elif who.hair_style == "pigtails":
        for side in (-1, 1):
            tail = Blob(
                aside + side * (wide + 0.05),
                0.1 + 0.2 * who.length,
                0.14,
                0.15 + 0.3 * who.length,
                tilt=-0.12 * side,
            )
            canvas.paint(tail, dark)


def paint_hair(face: Face) -> None:
    """Paint the cap of hair around the forehead, by style."""
    who, canvas = face.person, face.canvas
    if who.hair_style == "bald":
        canvas.paint(
            Blob(-0.3 * who.width, -0.72 * who.height, 0.13, 0.06, tilt=-0.2, soft=0.03),
            (1, 1, 1),
            strength=0.35,
        )
        return
    down = 0.55 * who.height + who.volume
    volume = 0.3 * who.volume if who.hair_style == "crop" else who.volume
    cap = Blob(0, -0.45 * who.height - 0.3 * volume, who.width + 0.6 * volume, down, square=who.square)
    x, y = face.at(0.35 * who.parting * who.width if who.hair_style == "parted" else 0.0, -who.hairline)
    high, wide, square = 0.75 * who.height, 0.86 * who.width, False
    tilt = 0.0
    if who.hair_style == "parted":
        tilt = 0.3 * who.parting
    elif who.hair_style in ("fringe", "bob"):
        wide, square = 0.84 * who.width, True
        y = max(y, face.at(0, -who.eye_height - who.eye_open - who.brow_height)[1])
    forehead = Blob(0.5 * x, y + high, wide, high, square=square, tilt=tilt)
    canvas.paint(cap, who.hair, without=forehead)
    shine = mixed(who.hair, (1, 1, 1), 0.3)
    gleam = Blob(
        -0.35 * who.width, cap.y - 0.55 * down, 0.3 * who.width, 0.05, tilt=-0.25, bend=0.6, soft=0.04
    )
    canvas.paint(gleam, shine, within=cap, without=forehead, strength=0.6)
    if who.hair_style == "quiff":
        top = -who.height - 0.4 * who.volume
        canvas.paint(
            Blob(0.25 * who.parting, top, 0.62 * who.width, 0.10 + who.volume, tilt=0.25 * who.parting),
            who.hair,
        )
    elif who.hair_style == "curls":
        for right in (-0.6, -0.2, 0.2, 0.6):
            canvas.paint(Blob(right * who.width, y - 0.02 - 0.1 * (1 - right * right), 0.13, 0.12), who.hair)
