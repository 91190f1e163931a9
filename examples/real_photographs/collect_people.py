"""Collect real photographs that Python packages ship: one folder per person.

    python collect_people.py people --face-recognition face_recognition-1.3.0.tar.gz

Sources, none of which is copied into this repository:

- scikit-image: the astronaut Eileen Collins (``data/astronaut.png``, NASA, public domain), and the first 100
  pictures of ``data/lfw_subset.npy``: faces of Labeled Faces in the Wild, 25 x 25 pixels, grey, here enlarged
  eight times. Each is taken for a person of its own, which is not always so: the set repeats some people.
- face_recognition 1.3.0, the test images of its source distribution: Barack Obama (three photographs), Joe Biden.
  Get it with: pip download --no-deps --no-binary :all: face_recognition==1.3.0
"""

from __future__ import annotations

import argparse
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image  # noqa: TID253 - a script
from skimage import data  # noqa: TID253

PORTRAITS = {"obama": ["obama.jpg", "obama2.jpg", "obama3.jpg"], "biden": ["biden.jpg"]}
ENLARGE = 8
LFW_FACES = 100  # the other half of the file shows no faces


def save(picture: Image.Image, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture.convert("RGB").save(folder / f"{name}.png")


def collect_scikit_image(people: Path) -> None:
    save(Image.fromarray(data.astronaut()), people / "collins", "astronaut")
    faces = data.lfw_subset()[:LFW_FACES]
    for number, face in enumerate(faces):
        picture = Image.fromarray(np.round(face * 255).astype(np.uint8))
        size = (picture.width * ENLARGE, picture.height * ENLARGE)
        save(picture.resize(size, Image.Resampling.BICUBIC), people / f"lfw-{number:03d}", "face")


def collect_face_recognition(people: Path, archive: Path) -> None:
    with tarfile.open(archive) as files:
        members = {Path(member.name).name: member for member in files if "test_images/" in member.name}
        for person, names in PORTRAITS.items():
            for name in names:
                content = files.extractfile(members[name])
                assert content is not None
                save(Image.open(io.BytesIO(content.read())), people / person, Path(name).stem)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("people", type=Path, help="a new folder")
    parser.add_argument(
        "--face-recognition", type=Path, help="the source distribution, face_recognition-1.3.0.tar.gz"
    )
    options = parser.parse_args()
    options.people.mkdir(parents=True)
    collect_scikit_image(options.people)
    if options.face_recognition:
        collect_face_recognition(options.people, options.face_recognition)
    print(f"{len(list(options.people.iterdir()))} people in {options.people}")


if __name__ == "__main__":
    main()
