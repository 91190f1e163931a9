"""What the Tab key offers for values: names of matchers, devices, and files of the kind that is meant.

A function that offers nothing leaves the shell to complete file names.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "aligns",
    "configs",
    "detectors",
    "devices",
    "galleries",
    "matchers",
    "noises",
    "one_of",
    "runs",
    "vectors",
]

MOST_ENTRIES = 2000  # of a folder that is looked into: Tab answers at once
VECTOR_SUFFIXES = {".npy", ".npz", ".parquet", ".safetensors", ".faiss", ".index"}


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Return the completion of an option that takes one of some words."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


devices = one_of("cpu", "cuda", "cuda:0", "cuda:all")
detectors = one_of("dlib", "dlib68", "mtcnn", "scrfd:", "yunet:")
aligns = one_of("ffhq_fixed", "none")
noises = one_of("const", "none", "random", "seeded-tf")


def matchers(incomplete: str) -> list[tuple[str, str]]:
    """Return the matchers of the catalogue and of other packages, with their titles."""
    from idsim.matchers.catalogue import catalogue_names, catalogue_spec
    from idsim.matchers.registry import plugged_in

    names = [name for name in catalogue_names() if name.startswith(incomplete)]
    found = [(name, catalogue_spec(name).title) for name in names]
    return found + [(name, "from another package") for name in plugged_in() if name.startswith(incomplete)]


def galleries(incomplete: str) -> list[str]:
    """Return the galleries below the folder that is typed."""
    return _below(incomplete, _is_gallery)


def vectors(incomplete: str) -> list[str]:
    """Return galleries and files of embeddings."""
    return _below(incomplete, lambda path: _is_gallery(path) or path.suffix in VECTOR_SUFFIXES)


def runs(incomplete: str) -> list[str]:
    """Return the run folders of scans."""
    return _below(incomplete, lambda path: (path / "config.resolved.toml").is_file())


def configs(incomplete: str) -> list[str]:
    """Return TOML files."""
    return _below(incomplete, lambda path: path.suffix == ".toml")


def _is_gallery(path: Path) -> bool:
    return (path / "manifest.json").is_file()


def _below(incomplete: str, wanted: Callable[[Path], bool]) -> list[str]:
    """Return what is wanted among the entries that begin as typed, and one folder further down."""
    typed = Path(incomplete)
    folder, start = (typed, "") if incomplete.endswith("/") or not incomplete else (typed.parent, typed.name)
    found: list[str] = []
    for path in _entries(folder):
        if not path.name.startswith(start):
            continue
        if wanted(path):
            found.append(str(path))
        elif path.is_dir() and not path.name.startswith("."):
            found += [str(inner) for inner in _entries(path) if wanted(inner)]
    return sorted(found)


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from islice(folder.iterdir(), MOST_ENTRIES)
    except OSError:
        return
