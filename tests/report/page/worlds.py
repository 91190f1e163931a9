"""Runs for the tests of reports: drawn faces with two matchers, and a series of generators."""

from __future__ import annotations

from PIL import Image

from idsim.audit.run import scan
from idsim.images import decode, sha256
from idsim.sources.decoding import Content

# A person is the colours of a face; a model draws persons of the training set for seeds below LEAKS.
MODEL = """
import numpy as np
from PIL import Image, ImageDraw

LEAKS = {leaks}

def face(person, image):
    draws = np.random.RandomState(person)
    skin, hair, back, eyes, mouth = (tuple(draws.randint(20, 236, 3).tolist()) for _ in range(5))
    wide, tall = draws.randint(16, 25), draws.randint(20, 29)
    jitter = np.random.RandomState(7919 * person + image).randint(-1, 2, 2)
    x, y = 32 + jitter[0], 34 + jitter[1]
    canvas = Image.new("RGB", (64, 64), back)
    pen = ImageDraw.Draw(canvas)
    pen.ellipse((x - wide - 3, y - tall - 5, x + wide + 3, y + tall - 8), fill=hair)
    pen.ellipse((x - wide, y - tall, x + wide, y + tall), fill=skin)
    for side in (-1, 1):
        pen.ellipse((x + side * 9 - 3, y - 8, x + side * 9 + 3, y - 3), fill=eyes)
    pen.rectangle((x - 7, y + 10, x + 7, y + 13), fill=mouth)
    return np.asarray(canvas)

def draw(seeds, psi=1.0):
    for seed in seeds:
        person = 1000 + seed if seed < LEAKS else 5000 + seed
        picture = face(person, 99).astype(float)
        noise = np.random.RandomState(seed).normal(0, 4, picture.shape)
        yield (picture + psi * noise).clip(0, 255).astype(np.uint8)

draw.description = {{"licence": "CC0", "weights": "none: drawn ellipses"}}
"""

MATCHERS = """
def coarse(crops):
    return crops.reshape(len(crops), 4, 16, 4, 16, 3).mean(axis=(2, 4)).reshape(len(crops), -1) - 127.5

def fine(crops):
    return crops.reshape(len(crops), 8, 8, 8, 8, 3).mean(axis=(2, 4, 5)).reshape(len(crops), -1) - 120.0

coarse.spec = {
    "name": "coarse", "licence": "CC0", "input": {"size": [64, 64]}, "align": {"mode": "none"},
    "output": {"dim": 48, "normalise": True}, "score": {"metric": "cosine"},
}
fine.spec = {
    "name": "fine", "licence": "CC0", "input": {"size": [64, 64]}, "align": {"mode": "none"},
    "output": {"dim": 64, "normalise": True}, "score": {"metric": "cosine"},
}
"""

SCAN = """
[run]
name = "{run}"
dir = "."
[synthetic]
{synthetic}
[training]
images = "training"
labels = "folder"
[holdout]
images = "holdout"
labels = "folder"
{matchers}
[calibration]
fpir = [0.15]
fmr = [0.02, 1e-6]
[declared]
generator = "drawn ellipses"
matcher_saw_training = "no"
generator_mirrored = "no"
"""

# What takes time and is no business of the page.
LITTLE = """
[statistics]
bootstrap = 100
permutations = 199
[analysis]
literature = "no"
manifold = "no"
near_copies = "no"
"""

TWO = """
[[matcher]]
name = "coarse"
kind = "matchers.py:coarse"
align = "none"
[[matcher]]
name = "fine"
kind = "matchers.py:fine"
align = "none"
"""

ONE = """
[matcher]
kind = "matchers.py:coarse"
align = "none"
"""


class DecoderHere:
    """Decodes in this process: what the processes of a pool do has its own tests, and starting them takes seconds."""

    def decode(self, reads):
        for read in reads:
            data = read()
            yield Content(sha256(data), decode(data))

    def close(self):
        pass


def face_of():
    """The function that draws a face: a person's number and an image's."""
    spaces = {}
    exec(MODEL.format(leaks=0), spaces)
    return spaces["face"], spaces["draw"]


def write_world(folder, persons=24):
    """Pictures of training and holdout, models and matchers."""
    face, _ = face_of()
    for name, start in (("training", 1000), ("holdout", 3000)):
        for person in range(start, start + persons):
            place = folder / name / f"person-{person}"
            place.mkdir(parents=True)
            for image in range(2):
                Image.fromarray(face(person, image)).save(place / f"{image}.png")
    (folder / "early.py").write_text(MODEL.format(leaks=2))
    (folder / "late.py").write_text(MODEL.format(leaks=8))
    (folder / "matchers.py").write_text(MATCHERS)
    return folder


def write_pictures(folder, count=30, leaks=8):
    """A folder of synthetic pictures, one of them without anything to see and one broken."""
    spaces = {}
    exec(MODEL.format(leaks=leaks), spaces)
    (folder / "synthetic").mkdir()
    for seed, pixels in enumerate(spaces["draw"](range(count))):
        Image.fromarray(pixels).save(folder / "synthetic" / f"canary-{seed:03d}.png")
    (folder / "synthetic" / "broken.jpg").write_bytes(b"no picture")


def scan_pictures(folder):
    """Scan a folder of pictures with two matchers."""
    write_pictures(folder)
    return run_scan(folder, "pictures", 'images = "synthetic"', TWO)


def scan_series(folder):
    """Scan two models at two truncations."""
    synthetic = 'generator = ["early.py:draw", "late.py:draw"]\nseeds = "0-19"\npsi = [1.0, 0.5]'
    return run_scan(folder, "series", synthetic, ONE)


def run_scan(folder, run, synthetic, matchers):
    """Write the description of a scan and run it."""
    path = folder / f"{run}.toml"
    path.write_text(SCAN.format(run=run, synthetic=synthetic, matchers=matchers) + LITTLE)
    return scan(path).folder
