"""A face on its canvas: where its features come to lie, and the features themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING

from idsim.demo_world.canvas import Blob, Canvas
from idsim.demo_world.chance import Colour, mixed, shaded

if TYPE_CHECKING:
    from idsim.demo_world.people import Person
    from idsim.demo_world.scenes import Scene

WHITE: Colour = (0.97, 0.97, 0.96)
INK: Colour = (0.07, 0.06, 0.07)


@dataclass(frozen=True)
class Face:
    """A person in a scene, with the canvas that both are painted on."""

    person: Person
    scene: Scene
    canvas: Canvas
    head: Blob = field(init=False)

    def __post_init__(self) -> None:
        who = self.person
        head = Blob(0, 0, who.width, who.height, taper=who.jaw, square=who.square)
        object.__setattr__(self, "head", head)

    def at(self, right: float, down: float) -> tuple[float, float]:
        """Where a point of the face lies after the head has turned: that of a ball seen from far away."""
        wide, yaw = self.person.width, self.scene.yaw
        depth = sqrt(max(0.0, 1 - right * right / (wide * wide))) * wide
        return right * sqrt(
            1 - yaw * yaw
        ) + 0.75 * depth * yaw, down + self.scene.pitch * self.person.height * 0.8


def paint_head(face: Face) -> None:
    """Paint neck, clothes, ears and the head with its shadow."""
    who, scene, canvas = face.person, face.scene, face.canvas
    shadow = shaded(who.skin, 0.78)
    canvas.paint(Blob(0, who.height, 0.5 * who.width, 0.35, square=True), shadow)
    canvas.paint(Blob(0, 1.26, 0.95, 0.52, square=True), scene.clothes)
    canvas.paint(Blob(0, who.height + 0.12, 0.55 * who.width, 0.16), shadow)
    for side in (-1, 1):
        ear = Blob(
            side * who.width * 0.98 - 0.25 * who.width * scene.yaw,
            0.02 + scene.pitch * 0.2,
            0.7 * who.ears,
            who.ears,
        )
        canvas.paint(ear, shaded(who.skin, 0.92))
        canvas.paint(Blob(ear.x, ear.y, 0.5 * ear.across, 0.55 * ear.down), shadow)
    canvas.paint(face.head, who.skin)
    # The cheek that the light does not reach.
    away = -1 if scene.light[0] > 0 else 1
    shade = Blob(away * who.width * 1.15, 0.15, 0.55 * who.width, 1.1 * who.height, soft=0.3)
    canvas.paint(shade, shadow, within=face.head, strength=0.2 + 1.4 * abs(scene.light[0]))


def paint_cheeks(face: Face) -> None:
    """Paint blush, freckles and a mole."""
    who, canvas = face.person, face.canvas
    for side in (-1, 1):
        x, y = face.at(side * 0.62 * who.width, 0.16)
        canvas.paint(
            Blob(x, y, 0.12, 0.09, soft=0.1),
            mixed(who.skin, (0.92, 0.36, 0.34), 0.6),
            within=face.head,
            strength=who.blush,
        )
        if who.freckles:
            for right, down in ((-0.07, 0.0), (0.03, -0.03), (0.0, 0.06), (0.08, 0.03)):
                canvas.paint(Blob(x + right, y + down, 0.022, 0.022), shaded(who.skin, 0.6), strength=0.9)
    if who.mole is not None:
        x, y = face.at(who.mole[0] * who.width, who.mole[1])
        canvas.paint(Blob(x, y, 0.035, 0.035), shaded(mixed(who.skin, (0.2, 0.1, 0.08), 0.7), 0.8))


def paint_nose(face: Face) -> None:
    """Paint the bridge's shadow, the tip and a light on it."""
    who, canvas = face.person, face.canvas
    x, y = face.at(0, who.nose_length - 0.02)
    x += 0.5 * who.nose_length * face.scene.yaw  # It stands out of the face.
    base, top = shaded(who.skin, 0.76), face.at(0, -0.02)
    away = -1 if face.scene.light[0] > 0 else 1
    bridge = Blob(
        (x + top[0]) / 2 + away * 0.3 * who.nose_width, (y + top[1]) / 2, 0.028, 0.55 * who.nose_length
    )
    canvas.paint(bridge, base, strength=0.7)
    canvas.paint(Blob(x, y, who.nose_width, 0.055), base)
    canvas.paint(Blob(x, y - 0.018, 0.72 * who.nose_width, 0.042), shaded(who.skin, 1.06))


def paint_mouth(face: Face) -> None:
    """Paint lips that smile or not, open or closed, with teeth."""
    who, scene, canvas = face.person, face.scene, face.canvas
    x, y = face.at(0, who.mouth_height)
    wide = who.mouth_width * (1 + 0.12 * scene.smile)
    bend = -scene.smile * 0.2 / wide  # The corners rise by a fifth of the half-width.
    lips = mixed(shaded(who.skin, 0.72), (0.74, 0.18, 0.22), 0.25 + 0.6 * who.lip_red)
    gap = 0.07 * scene.mouth_open
    canvas.paint(Blob(x, y, wide, who.lips + gap, bend=bend), lips)
    if gap > 0.01:
        canvas.paint(Blob(x, y, 0.82 * wide, gap + 0.008, bend=bend), (0.24, 0.06, 0.08))
        canvas.paint(Blob(x, y - 0.45 * gap, 0.68 * wide, 0.45 * gap, bend=bend), WHITE, strength=0.9)
    else:
        canvas.paint(Blob(x, y, 0.94 * wide, 0.014, bend=bend), shaded(lips, 0.45), strength=0.8)


def paint_eyes(face: Face) -> None:
    """Paint eyes that look aside, lids and brows."""
    who, scene, canvas = face.person, face.scene, face.canvas
    brow = mixed(shaded(who.hair, 0.62), shaded(who.skin, 0.45), 0.25)
    for side in (-1, 1):
        x, y = face.at(side * who.eye_apart, -who.eye_height)
        narrow = 1 - 0.35 * max(0.0, side * scene.yaw)  # The far eye is seen from the side.
        wide, tilt = who.eye_width * narrow, -side * who.eye_tilt / 2
        tall = max(0.016, who.eye_open * scene.eyes_open)
        eye = Blob(x, y, wide, tall, tilt=tilt)
        canvas.paint(
            Blob(x, y - 0.022, wide + 0.022, tall + 0.012, tilt=tilt), shaded(mixed(who.skin, INK, 0.45), 0.7)
        )
        canvas.paint(eye, WHITE)
        iris = min(wide * 0.85, who.iris_size * who.eye_open)
        look = x + 0.35 * wide * scene.gaze + 0.25 * wide * scene.yaw
        canvas.paint(Blob(look, y, iris, iris), who.iris, within=eye)
        canvas.paint(Blob(look, y, 0.55 * iris, 0.55 * iris), INK, within=eye)
        canvas.paint(Blob(look - 0.3 * iris, y - 0.35 * iris, 0.25 * iris, 0.25 * iris), WHITE, within=eye)
        high = who.eye_height + who.eye_open + who.brow_height + scene.brows
        x, y = face.at(side * (who.eye_apart + 0.01), -high)
        canvas.paint(
            Blob(
                x,
                y,
                who.brow_width * narrow,
                who.brow_thick,
                tilt=side * who.brow_tilt / 2,
                bend=who.brow_bend,
            ),
            brow,
        )


def paint_beard(face: Face) -> None:
    """Paint hair on the lower face; the mouth is painted over it."""
    who, canvas = face.person, face.canvas
    x, y = face.at(0, who.mouth_height)
    colour = shaded(who.grown, 0.85)
    if who.beard in ("full", "stubble"):
        jaw = Blob(0, who.height * 0.45, who.width * 1.1, who.height * 0.66, square=True)
        cheeks = Blob(x, y - 0.30, who.width * 0.86, 0.32)
        strength = 0.95 if who.beard == "full" else 0.4
        canvas.paint(jaw, colour, within=face.head, without=cheeks, strength=strength)
    if who.beard == "goatee":
        canvas.paint(Blob(x, y + 0.17, 0.55 * who.mouth_width + 0.03, 0.17), colour)
    if who.beard in ("moustache", "full", "goatee"):
        canvas.paint(Blob(x, y - who.lips - 0.045, 1.05 * who.mouth_width, 0.05, bend=1.2), colour)


def paint_glasses(face: Face) -> None:
    """Paint rims round both eyes, a bridge, and glass that reflects a little."""
    if face.person.glasses is None or face.scene.occlusion == "sunglasses":
        return
    radius, square, colour = face.person.glasses
    radius = min(radius, 0.94 * face.person.eye_apart)
    _spectacles(face, radius, square, colour, glass=None)


def _spectacles(face: Face, radius: float, square: bool, colour: Colour, glass: Colour | None) -> None:
    who, canvas = face.person, face.canvas
    for side in (-1, 1):
        x, y = face.at(side * who.eye_apart, -who.eye_height)
        outer = Blob(x, y, radius, 0.85 * radius, square=square)
        if glass is not None:
            canvas.paint(outer, glass)
            canvas.paint(
                Blob(x - 0.3 * radius, y - 0.3 * radius, 0.3 * radius, 0.12 * radius, tilt=-0.3),
                WHITE,
                strength=0.5,
            )
        else:
            thick = 0.042
            canvas.paint(
                outer, colour, without=Blob(x, y, radius - thick, 0.85 * radius - thick, square=square)
            )
    x, y = face.at(0, -who.eye_height)
    canvas.paint(Blob(x, y, max(0.03, who.eye_apart - radius + 0.02), 0.022), colour)


def paint_occlusion(face: Face) -> None:
    """Paint what stands before the face in some pictures."""
    who, scene, canvas = face.person, face.scene, face.canvas
    if scene.occlusion == "sunglasses":
        _spectacles(face, min(0.21, 0.94 * who.eye_apart), square=False, colour=INK, glass=(0.10, 0.10, 0.13))
    elif scene.occlusion == "mask":
        x, y = face.at(0, who.mouth_height)
        cloth = mixed(scene.clothes, WHITE, 0.6)
        canvas.paint(Blob(0.5 * x, y + 0.03, who.width * 1.02, 0.24, square=True), cloth, within=face.head)
        canvas.paint(Blob(0.5 * x, y - 0.02, who.width * 0.8, 0.012), shaded(cloth, 0.8), within=face.head)
    elif scene.occlusion == "hand":
        x, y = face.at(scene.side * 0.7 * who.width, who.mouth_height)
        hand = shaded(who.skin, 0.93)
        canvas.paint(Blob(x + scene.side * 0.08, y + 0.34, 0.13, 0.30, tilt=0.1 * scene.side), hand)
        for finger in range(4):
            tip = Blob(
                x - scene.side * (0.15 - 0.085 * finger), y - 0.02 * (2 - abs(finger - 1)), 0.045, 0.19
            )
            canvas.paint(tip, shaded(hand, 1 - 0.07 * (finger % 2)))
