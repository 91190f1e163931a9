"""InsightFace's model packs: a folder such as ``buffalo_l`` with a recognition network, a detector and others.

The recognition network is told by its SHA-256, which the catalogue knows: a pack may hold a file of a known name with
another network in it (AuraFace's ``glintr100.onnx``).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from idsim.errors import MatcherError
from idsim.matchers.catalogue import catalogue_names, catalogue_spec

if TYPE_CHECKING:
    from pathlib import Path

    from idsim.matchers.spec import MatcherSpec

__all__ = ["PREFIX", "Pack", "read_pack"]

PREFIX = "insightface:"
# SCRFD networks with five landmarks, by the names that packs give them; their outputs are checked on opening.
DETECTORS = ("det_10g.onnx", "det_2.5g.onnx", "det_500m.onnx", "scrfd_10g_bnkps.onnx")
MOST_FILES = 32


class Pack(NamedTuple):
    """What a pack holds that is used here.

    Attributes
    ----------
    spec : MatcherSpec
        The catalogue's specification of the recognition network, with its file.
    detector : Path or None
        The file of the SCRFD detector; None: there is none, or more than one.
    found : str
        What is in the folder, in words.
    """

    spec: MatcherSpec
    detector: Path | None
    found: str


def read_pack(folder: Path) -> Pack:
    """Tell what a pack holds.

    Raises
    ------
    MatcherError
        It is no folder, or holds no recognition network that the catalogue knows, or several; lists what was found.
    """
    if not folder.is_dir():
        hint = "; unpack the zip first" if folder.suffix == ".zip" else ""
        raise MatcherError(folder, "pack", f"it is no folder with InsightFace's models{hint}")
    files = sorted(path for path in folder.glob("*.onnx") if path.is_file() and not path.is_symlink())
    if len(files) > MOST_FILES:
        raise MatcherError(folder, "pack", f"{len(files)} ONNX files, at most {MOST_FILES} are looked at")
    known = {spec.sha256: spec for name in catalogue_names() if (spec := catalogue_spec(name)).sha256}
    hashes = {path: _sha256(path) for path in files if path.name not in DETECTORS}
    matched = [path for path in hashes if hashes[path] in known]
    found = ", ".join(f"{path.name} ({_what(path, hashes, known)})" for path in files)
    if len(matched) != 1:
        raise MatcherError(
            folder, "pack",
            f"{'no' if not matched else 'more than one'} recognition network of the catalogue is in it; found: "
            f"{found or 'no .onnx file'}. Name the matcher and the file instead: -m NAME --model FILE",
        )  # fmt: skip
    detectors = [path for path in files if path.name in DETECTORS]
    spec = replace(known[hashes[matched[0]]], file=str(matched[0].absolute()))
    return Pack(spec, detectors[0].absolute() if len(detectors) == 1 else None, found)


def _what(path: Path, hashes: dict[Path, str], known: dict[str, MatcherSpec]) -> str:
    if path not in hashes:
        return "a detector by its name"
    spec = known.get(hashes[path])
    return f"sha256 {hashes[path][:12]}..., not in the catalogue" if spec is None else spec.name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
