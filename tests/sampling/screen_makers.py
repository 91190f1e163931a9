"""A generator that leaks, the people whom it leaks, and a matcher; in files of their own so that workers open them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from idsim.sampling import SampleConfig, ScreenConfig

# Every third seed is a picture of one of 30 people; every tenth is black. All others show nobody.
MODEL = """
import os, signal
import numpy as np

PEOPLE = 30

def face(number):
    return np.random.RandomState(number).randint(1, 256, (4, 4, 3))

def leaks(seed):
    return seed % 3 == 0

def draw(seeds, device=None):
    for seed in seeds:
        if os.environ.get("IDSIM_TEST_STOP_AT") == str(seed):
            os.kill(os.getpid(), signal.SIGKILL)
        number = seed % PEOPLE if leaks(seed) else 5000 + seed
        noise = np.random.RandomState(seed).randint(-5, 6, (4, 4, 3))
        picture = (face(number) + noise).clip(1, 255) if seed % 10 != 9 else np.zeros((4, 4, 3))
        yield np.kron(picture, np.ones((4, 4, 1))).astype(np.uint8)

def only_leaks(seeds):
    yield from draw([3 * (seed % 3) for seed in seeds])
"""

MATCHER = """
import os, signal
import numpy as np
from idsim.matchers.base import Representation

class Corner:
    name, metric, dim = "corner", "l2", 48

    def describe(self):
        return {"name": self.name, "metric": self.metric, "dim": self.dim, "licence": "none", "device": "x"}

    def represent(self, image):
        place = os.environ.get("IDSIM_TEST_COUNT")
        if place:
            with open(place, "a") as file:
                file.write("x")
            if os.path.getsize(place) == int(os.environ["IDSIM_TEST_DEATH"]):
                os.kill(os.getpid(), signal.SIGKILL)
        if not image.any():
            return Representation(None)
        return Representation((image[::4, ::4].reshape(-1) / 64).astype(np.float32), "detected", 1)

def corner(device):
    return Corner()

class Other(Corner):
    name = "other"

def other(device):
    return Other()

class Short(Corner):
    dim = 12

def short(device):
    return Short()
"""


def space_of(text):
    space = {}
    exec(text, space)
    return space


def vectors(numbers):
    """The embeddings of people by their numbers, as the matcher gives them."""
    face = space_of(MODEL)["face"]
    return np.array([face(number).reshape(-1) / 64 for number in numbers], np.float32)


def write_all(folder):
    """Write model, matcher, the 30 people, and 80 others for the calibration."""
    (folder / "model.py").write_text(MODEL)
    (folder / "matcher.py").write_text(MATCHER)
    np.save(folder / "people.npy", vectors(range(30)))
    np.save(folder / "outsiders.npy", vectors(range(20_000, 20_080)))
    return folder


def screen(folder, **changes):
    given = {"gallery": folder / "people.npy", "matcher": f"{folder / 'matcher.py'}:corner", "threshold": 3.0}
    return ScreenConfig(**{**given, **changes})


def config(folder, output, *, screen_by=None, **changes):
    given = {"networks": (f"{folder / 'model.py'}:draw",), "output": Path(output), "seeds": "0-39"}
    return SampleConfig(**{**given, "screen": screen_by or screen(folder), **changes})


def expected_rounds(seeds, reserve, passes):
    """What is drawn, in words as simple as possible: (asked, attempt, seed) in order."""
    rest, drawn, places = iter(reserve), [], [(seed, seed) for seed in seeds]
    attempt = 0
    while places:
        drawn += [(asked, attempt, seed) for asked, seed in places]
        places = [(asked, next(rest)) for asked, seed in places if not passes(seed)]
        attempt += 1
    return drawn
