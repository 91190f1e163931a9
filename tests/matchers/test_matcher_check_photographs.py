"""What `idsim matcher check` says of photographs: dlib on NASA's astronaut and on Labeled Faces in the Wild."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from typer.testing import CliRunner

from idsim.cli.matcher import app
from support.photographs import astronaut

pytest.importorskip("dlib")
OTHERS = (0, 1, 2)  # of scikit-image's LFW faces; HOG misses number 4
MISSED = 4


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Four pictures of one person, and one of each of four others."""
    picture = Image.fromarray(astronaut()).crop((60, 0, 360, 300))
    from skimage import data

    root = tmp_path_factory.mktemp("people")
    (root / "collins").mkdir()
    for number, changed in enumerate((
        picture, picture.filter(ImageFilter.GaussianBlur(1.5)), ImageEnhance.Brightness(picture).enhance(0.7),
        picture.resize((240, 240)),
    )):  # fmt: skip
        changed.save(root / "collins" / f"{number}.png", compress_level=1)
    faces = data.lfw_subset()
    for number in (*OTHERS, MISSED):
        (root / f"lfw-{number}").mkdir()
        face = Image.fromarray(np.round(faces[number] * 255).astype(np.uint8)).resize((200, 200))
        face.save(root / f"lfw-{number}" / "face.png")
    return root


def run(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_photographs_are_cut_out_and_told_apart(people):
    done = run("dlib", people, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert (found["verdict"], found["severity"]) == ("looks right", "none")
    assert found["without_face"] == [f"lfw-{MISSED}/face.png"]
    by_name = {entry["check"]: entry for entry in found["findings"]}
    assert by_name["pictures"]["values"] == {
        "pictures": 8, "without_face": 1, "pairs_listed": 28, "pairs_left": 21,
    }  # fmt: skip
    values = by_name["pairs"]["values"]
    assert (values["same"], values["different"], values["auc"]["value"]) == (6, 15, 1.0)
    # Distances: below the threshold of 0.6 that is in use for the same person, above it for others.
    assert values["mean_same"]["value"] < 0.4
    assert values["mean_different"]["value"] > 0.6
    assert by_name["flip"]["ok"] is True
    assert found["matcher"]["alignment"]["mode"] == "dlib_chip"


def test_too_few_faces_are_no_verdict(people, tmp_path):
    lines = [f"{people}/collins/{n}.png,{people}/lfw-{MISSED}/face.png,0\n" for n in range(4)]
    path = tmp_path / "pairs.csv"
    path.write_text(
        "left,right,same\n" + "".join(lines) + f"{people}/collins/0.png,{people}/collins/1.png,1\n"
    )
    done = run("dlib", path)
    assert done.exit_code == 3, done.output
    assert f"no face: {people}/lfw-{MISSED}/face.png" in done.output
    assert "cannot be judged: no face in 1 of 5 pictures; 1 of 5 pairs are left" in done.output
    path.write_text(f"{people}/lfw-{MISSED}/face.png,{people}/lfw-{MISSED}/face.png,1\n")
    done = run("dlib", path)
    assert done.exit_code == 3, done.output
    assert "at least 5 same and 5 different ones are needed" in done.output


def test_a_detector_and_crops_by_landmarks(people, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(f"{people}/collins/0.png,{people}/collins/1.png,same\n")
    done = run("dlib", path, "--detector", "dlib68", "--json")
    assert done.exit_code == 3  # one pair
    assert json.loads(done.output)["matcher"]["detector"]["landmarks"] == 68
    done = run("dlib", path, "--align", "none")
    assert "is 300 x 300, and the matcher takes crops of 150 x 150" in str(done.exception)


def test_whole_matchers_show_no_crops(people, tmp_path):
    (tmp_path / "m.py").write_text(
        "class M:\n    name, metric, dim = 'm', 'l2', 2\n    def describe(self): return {}\n"
        "    def represent(self, image): return None\ndef make(device): return M()\n"
    )
    done = run(f"{tmp_path / 'm.py'}:make", people)
    assert "is a whole matcher and shows no crops" in str(done.exception)
