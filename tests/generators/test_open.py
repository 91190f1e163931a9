"""From a spec to a generator: folders, zips, functions, entry points, and what is said of anything else."""

from __future__ import annotations

import io
import sys
import zipfile
from importlib import metadata

import numpy as np
import pytest
from PIL import Image

from idsim.generators import known_generators, open_generator
from idsim.generators.base import Drawn, checked
from idsim.generators.function import FunctionGenerator
from idsim.generators.series import Networks

MODEL = """
import numpy as np

def draw(seeds, psi=1.0, label=None):
    for seed in seeds:
        yield np.full((4, 6, 3), (seed * 10 + 100 * psi + (label or 0)) % 256, np.uint8)

def plain(seeds):
    return [np.zeros((4, 4, 3), np.uint8)] * len(seeds)

draw.description = {"licence": "CC0"}
number = 3
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def pictures(folder, count):
    folder.mkdir()
    result = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        result.append(pixels)
    return result


# --- stored pictures ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_stored_pictures_have_numbers(tmp_path, kind):
    expected = pictures(tmp_path / "set", 4)
    spec = "set"
    if kind == "zip":
        spec = "set.zip"
        with zipfile.ZipFile(tmp_path / spec, "w") as archive:
            for path in (tmp_path / "set").iterdir():
                archive.write(path, path.name)
    generator = open_generator(spec, base=tmp_path)
    assert len(generator) == 4
    for seed, picture in zip([3, 0], generator.sample([3, 0]), strict=True):
        np.testing.assert_array_equal(picture, expected[seed])
    assert open_generator(f"folder:{spec}", base=tmp_path).describe() == generator.describe()
    with pytest.raises(ValueError, match="there is no 4"):
        generator.sample([0, 4])
    with pytest.raises(ValueError, match="psi and label do not apply"):
        generator.sample([0], psi=0.7)


def test_folder_and_zip_of_the_same_pictures_are_described_alike(tmp_path):
    pictures(tmp_path / "set", 3)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted((tmp_path / "set").iterdir()):
            archive.write(path, path.name)
    first, second = (open_generator(name, base=tmp_path) for name in ("set", "set.zip"))
    assert first.describe() == second.describe()
    (tmp_path / "set" / "00.png").write_bytes((tmp_path / "set" / "01.png").read_bytes())
    assert open_generator("set", base=tmp_path).describe() != second.describe()


def test_a_hostile_folder_gives_its_honest_pictures(tmp_path):
    import os

    pictures(tmp_path / "set", 2)
    (tmp_path / "set" / "link.png").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "set" / "fifo.png")
    (tmp_path / "set" / "up").symlink_to(tmp_path)
    assert len(open_generator("set", base=tmp_path)) == 2


def test_a_damaged_picture_is_named_when_it_is_drawn(tmp_path):
    pictures(tmp_path / "set", 2)
    (tmp_path / "set" / "01.png").write_bytes(b"no picture")
    drawn = iter(open_generator("set", base=tmp_path).sample([0, 1]))
    next(drawn)
    with pytest.raises(ValueError, match=r"01\.png: it is no JPEG"):
        next(drawn)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="no JPEG, PNG or WebP"):
        open_generator(str(tmp_path))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.txt", b"x")
    with pytest.raises(ValueError, match="no JPEG, PNG or WebP"):
        open_generator("a.zip", base=tmp_path)


# --- functions ------------------------------------------------------------------------------------


def test_a_function_of_a_file_draws(tmp_path, model):
    generator = open_generator("model.py:draw", base=tmp_path)
    (first, second) = generator.sample([1, 2], psi=0.5, label=3)
    assert (first[0, 0, 0], second[0, 0, 0]) == (63, 73)
    description = generator.describe()
    assert description["licence"] == "CC0"
    assert description["name"] == "draw"
    model.write_text(MODEL + "# changed\n")
    assert open_generator(str(model) + ":draw").describe()["sha256"] != description["sha256"]


def test_a_function_is_given_what_it_takes(tmp_path, model):
    generator = open_generator("function:model.py:plain", base=tmp_path)
    assert len(list(generator.sample([1, 2, 3]))) == 3
    with pytest.raises(ValueError, match="no parameter psi, and psi is 0.7"):
        generator.sample([1], psi=0.7)
    with pytest.raises(ValueError, match="no parameter device"):
        open_generator("model.py:plain", base=tmp_path, device="cuda")
    asked = {}
    greedy = FunctionGenerator(
        lambda seeds, **options: asked.update(options) or [], device="cpu", noise="none"
    )
    list(greedy.sample([], psi=0.5))
    assert asked == {"psi": 0.5, "device": "cpu", "noise": "none"}
    assert greedy.describe()["noise"] == "none"
    assert "device" not in greedy.describe()


def test_a_function_of_a_module_draws(tmp_path, model, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    assert len(list(open_generator("model:plain").sample([1]))) == 1
    sys.modules.pop("model")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("model.py:missing", "no function missing"),
        ("model.py:number", "no function number"),
        ("absent.py:draw", "there is no file"),
        ("no_such_module:draw", "there is no module no_such_module"),
        ("function:draw", "module:function"),
    ],
)
def test_a_function_that_is_not_there_is_named(tmp_path, model, spec, words):
    with pytest.raises(ValueError, match=words):
        open_generator(spec, base=tmp_path)


# --- entry points and everything else -------------------------------------------------------------


class Toy:
    """What another package offers."""

    name = "toy"

    def __init__(self, argument, device="cpu"):
        self.argument, self.device = argument, device

    def describe(self):
        return {"name": self.name, "size": int(self.argument), "sha256": "0" * 64, "licence": "none"}

    def sample(self, seeds, *, psi=None, label=None):
        size = int(self.argument)
        return Drawn(len(seeds), lambda: (np.full((size, size, 3), seed % 256, np.uint8) for seed in seeds))


@pytest.fixture
def toy(monkeypatch):
    entry = metadata.EntryPoint("toy", f"{__name__}:Toy", "idsim.generators")
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda self: Toy)
    real = metadata.entry_points

    def entry_points(**chosen):
        if chosen.get("group") != "idsim.generators":
            return real(**chosen)
        return metadata.EntryPoints([entry]).select(**chosen)

    monkeypatch.setattr(metadata, "entry_points", entry_points)


def test_another_package_adds_a_kind(toy):
    assert "toy" in known_generators()
    generator = open_generator("toy:16", device="cuda:1", noise=None)
    assert (generator.argument, generator.device) == ("16", "cuda:1")
    assert next(iter(generator.sample([5]))).shape == (16, 16, 3)
    with pytest.raises(ValueError, match="kind toy has no noise, and noise is 'none'"):
        open_generator("toy:16", noise="none")


@pytest.mark.parametrize("spec", ["", "toyy:16", "nowhere", "picture.png", "a b:c", "x:y:z"])
def test_anything_else_is_told_what_is_known(toy, spec, tmp_path):
    with pytest.raises(ValueError, match=r"no generator.*folder, function.*toy|no module") as refused:
        open_generator(spec, base=tmp_path)
    assert repr(spec) in str(refused.value) or "toyy" in str(refused.value)


def test_a_folder_has_no_device(tmp_path):
    pictures(tmp_path / "set", 1)
    with pytest.raises(ValueError, match="kind folder has no device"):
        open_generator("set", base=tmp_path, device="cuda")


# --- what generators draw -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawn", "error", "words"),
    [
        ([np.zeros((4, 4, 3), np.float32)], TypeError, r"float32 \[4, 4, 3\]"),
        ([np.zeros((4, 4), np.uint8)], TypeError, r"uint8 \[4, 4\]"),
        ([np.zeros((3, 4, 4), np.uint8)], TypeError, "height, width, 3"),
        ([], ValueError, "asked for 1 pictures and drew only 0"),
        ([np.zeros((4, 4, 3), np.uint8)] * 2, ValueError, "drew more"),
    ],
)
def test_what_is_no_picture_is_refused(drawn, error, words):
    with pytest.raises(error, match=words):
        list(checked("toy", drawn, 1))


def test_a_generator_that_changes_in_a_run_is_noticed(tmp_path, model):
    pictures(tmp_path / "set", 1)
    networks = Networks(tmp_path)
    networks.get("model.py:draw")
    networks.get("set")
    model.write_text(MODEL + "# changed\n")
    with pytest.raises(ValueError, match="changed while the run went on"):
        networks.get("model.py:draw")


def test_bytes_of_a_picture_are_contiguous():
    turned = np.zeros((4, 6, 3), np.uint8).transpose(1, 0, 2)
    (picture,) = checked("toy", [turned], 1)
    assert picture.flags.c_contiguous
    assert io.BytesIO(picture.data).getvalue() == bytes(72)
