"""Drawn people: the same bytes everywhere, different people in every set, and nobody told by colour alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from idsim.demo_world import Person, draw, person, portrait
from idsim.demo_world.canvas import Blob, Canvas
from idsim.demo_world.people import BEARDS, HAIR_STYLES
from idsim.demo_world.scenes import scene

POPULATIONS = ("training-few", "training-many", "holdout", "probes", "matcher-training")


def portraits(people, image, size=32):
    return np.stack([portrait(person(*who), image, size) for who in people])


def test_the_bytes_are_those_of_every_other_machine():
    """16 portraits of 16 people: only operations that IEEE 754 rounds in one way are used."""
    drawn = np.stack([portrait(person("holdout", number), number) for number in range(16)])
    assert drawn.shape == (16, 32, 32, 3)
    assert drawn.dtype == np.uint8
    assert (
        hashlib.sha256(drawn.tobytes()).hexdigest()
        == "db9d89078b11bc1b52c5348082ee90db2d992730a1ee53160de8c43e83078d20"
    )


def test_a_person_is_a_function_of_population_and_number():
    assert person("holdout", 3) == person("holdout", 3)
    np.testing.assert_array_equal(portrait(person("holdout", 3), 5), portrait(person("holdout", 3), 5))


def test_nobody_is_in_two_populations_or_twice_in_one():
    """Compared without the names: by what is drawn."""
    seen = {
        replace(person(population, number), population="", number=0)
        for population in POPULATIONS
        for number in range(200)
    }
    assert len(seen) == len(POPULATIONS) * 200


def test_populations_have_people_of_every_kind():
    people = [person("holdout", number) for number in range(400)]
    assert {somebody.hair_style for somebody in people} == set(HAIR_STYLES)
    assert {somebody.beard for somebody in people} == set(BEARDS)
    for name in ("freckles", "glasses", "mole", "square"):
        share = np.mean([bool(getattr(somebody, name)) for somebody in people])
        assert 0.05 < share < 0.5, name


def test_every_parameter_can_be_seen():
    """A portrait of someone who differs in one parameter alone differs by more than rounding, somewhere."""
    other = replace(
        person("holdout", 8), glasses=(0.19, True, (0.1, 0.1, 0.1)), mole=(0.65, 0.1), freckles=True
    )
    values = replace(
        other, width=0.4, height=0.45, jaw=0.0, square=not other.square, ears=0.2,
        skin=(0.2, 0.3, 0.4), hair=(0.9, 0.1, 0.1), grown=(0.9, 0.1, 0.1), iris=(1.0, 0.0, 0.0),
        hair_style="bob", hairline=0.1, parting=-0.9, volume=0.3,
        length=0.1, eye_apart=0.15, eye_height=0.3, eye_width=0.05, eye_open=0.02, eye_tilt=1.0, iris_size=0.2,
        brow_height=0.3, brow_width=0.05, brow_thick=0.1, brow_tilt=1.0, brow_bend=8.0, nose_width=0.2,
        nose_length=0.02, mouth_width=0.05, mouth_height=0.1, lips=0.15, lip_red=0.0, blush=0.9, beard="full",
        freckles=False, mole=None, glasses=None,
    )  # fmt: skip
    base = replace(other, hair_style="long", parting=0.9, lip_red=1.0, blush=0.0, beard="none")
    image = next(image for image in range(50) if scene(base, image).occlusion == "none")
    before = portrait(base, image).astype(int)
    for name in Person.__dataclass_fields__:
        if name in ("population", "number"):
            continue
        hair = {"volume": "long", "length": "long", "parting": "parted", "hairline": "crop"}
        beard = "full" if name == "grown" else "none"
        start = replace(base, hair_style=hair.get(name, base.hair_style), beard=beard)
        changed = replace(start, **{name: getattr(values, name)})
        reference = before if start == base else portrait(start, image).astype(int)
        assert np.abs(portrait(changed, image) - reference).max() > 12, name


def test_pictures_of_a_person_differ_in_all_that_a_scene_has():
    views = [scene(person("holdout", 0), image) for image in range(200)]
    for name in views[0].__dataclass_fields__:
        assert len({getattr(view, name) for view in views}) > 1, name
    assert {view.occlusion for view in views} == {"none", "sunglasses", "mask", "hand"}
    first, second = (portraits([("holdout", 0)], image).astype(int) for image in (0, 1))
    assert np.abs(first - second).mean() > 8


def test_colour_alone_does_not_tell_who_it_is():
    """Of 150 people, the mean colour of another picture finds at most 1 in 15; all pixels find more, but not most."""
    people = [("holdout", number) for number in range(150)]
    first, second = (portraits(people, image).astype(np.float64) for image in (0, 1))

    def found(of):
        a, b = of(first), of(second)
        distances = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
        return np.mean(distances.argmin(1) == np.arange(len(people)))

    colour, pixels = found(lambda x: x.mean((1, 2))), found(lambda x: x.reshape(len(x), -1))
    assert colour < 1 / 15
    assert colour < pixels < 0.5


@pytest.mark.parametrize("size", [8, 48, 128])
def test_a_portrait_is_the_same_picture_at_every_size(size):
    """Areas that both sizes divide into have the same colour, but for grain and thin lines."""
    at_32, other = (portrait(person("holdout", 1), 0, side).astype(np.float64) for side in (32, size))
    small, large = (x.reshape(8, len(x) // 8, 8, len(x) // 8, 3).mean((1, 3)) for x in (at_32, other))
    assert np.abs(small - large).mean() < 6


def test_a_blob_covers_the_area_of_its_ellipse():
    canvas = Canvas(64, x=0.1, y=-0.05, scale=0.9, roll=0.1)
    canvas.paint(Blob(0.1, 0.05, 0.6, 0.3, tilt=0.2), (1, 1, 1))
    area = canvas.finished()[0].mean() * 4
    assert area == pytest.approx(np.pi * 0.6 * 0.3 * 0.9**2, rel=0.01)


def test_a_window_holds_all_of_a_blob():
    """What is painted through the window is what covering the whole canvas gives."""
    whole = (slice(0, 64), slice(0, 64))
    for tilt, bend, taper, square in np.ndindex(2, 3, 3, 2):
        canvas = Canvas(32, x=0.2, y=0.1, scale=1.1, roll=0.07)
        blob = Blob(-0.1, 0.2, 0.4, 0.2, 0.3 * tilt, bend - 1.0, 0.2 * (taper - 1), bool(square))
        canvas.paint(blob, (1, 1, 1))
        np.testing.assert_array_equal(canvas.colours[0], canvas.cover(blob, whole), str(blob))


def test_blobs_outside_the_canvas_paint_nothing():
    canvas = Canvas(16)
    for x, y in ((5, 0), (-5, 0), (0, 5), (0, -5)):
        canvas.paint(Blob(x, y, 0.5, 0.5), (1, 1, 1))
    assert not canvas.colours.any()


def test_folders_are_people(tmp_path):
    draw(tmp_path / "set", "holdout", people=3, images=2, size=16)
    names = sorted(str(path.relative_to(tmp_path / "set")) for path in (tmp_path / "set").rglob("*.png"))
    assert names == [f"holdout-000{who}/00{image}.png" for who in (1, 2, 3) for image in (0, 1)]
    with Image.open(tmp_path / "set" / "holdout-0002" / "001.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), portrait(person("holdout", 1), 1, 16))


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"number must be 0 or more, not -1"):
        person("holdout", -1)
    with pytest.raises(ValueError, match=r"image must be 0 or more, not -2"):
        portrait(person("holdout", 0), -2)
    with pytest.raises(ValueError, match=r"size must be 8 pixels or more, not 4"):
        portrait(person("holdout", 0), 0, 4)
    with pytest.raises(ValueError, match=r"population must be usable as a file name, not '\.\./a'"):
        draw(tmp_path, "../a", 1, 1)
    with pytest.raises(ValueError, match=r"people and images must be 1 or more, not 0 and 3"):
        draw(tmp_path, "holdout", 0, 3)
    assert not list(tmp_path.iterdir())
