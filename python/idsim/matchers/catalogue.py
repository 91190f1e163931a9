"""The specifications of known matchers, which come with the package; their weights do not."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from idsim.matchers.spec import read_spec

if TYPE_CHECKING:
    from idsim.matchers.spec import MatcherSpec

__all__ = ["catalogue_file", "catalogue_names", "catalogue_spec", "known_hashes"]

FOLDER = Path(__file__).parent / "catalog"


def catalogue_names() -> list[str]:
    """Return the names of the matchers of the catalogue, ascending."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def catalogue_file(name: str) -> Path:
    """Return the file with the specification of a matcher of the catalogue.

    Raises
    ------
    ValueError
        The catalogue has no such matcher.
    """
    if name not in catalogue_names():
        raise ValueError(f"the catalogue has no matcher {name!r}; it has {', '.join(catalogue_names())}")
    return FOLDER / f"{name}.toml"


def catalogue_spec(name: str) -> MatcherSpec:
    """Return the specification of a matcher of the catalogue."""
    return read_spec(catalogue_file(name))


@cache
def known_hashes() -> frozenset[str]:
    """Return the SHA-256 of the model files that the catalogue knows: these need no trial run."""
    return frozenset(spec.sha256 for name in catalogue_names() if (spec := catalogue_spec(name)).sha256)
