"""Where things are in a bundle."""

from __future__ import annotations

__all__ = [
    "CARD",
    "CONFIG",
    "DESCRIPTION",
    "NAMES",
    "PROVENANCE",
    "PSEUDONYMS",
    "RESULTS",
    "answer_member",
    "compared_folder",
    "image_member",
    "scores_folder",
    "set_folder",
]

CARD = "README.md"
CONFIG = "config.toml"
DESCRIPTION = "run.json"
NAMES = "names.json"
PROVENANCE = "provenance.json"
PSEUDONYMS = "pseudonyms.json"
RESULTS = "results"


def set_folder(matcher: int, name: str, variant: int = 0) -> str:
    """Return where a set is, as a matcher sees it; `variant` is the number of a synthetic set."""
    return f"matchers/{matcher}/{name}-{variant}" if name == "synthetic" else f"matchers/{matcher}/{name}"


def compared_folder(matcher: int, pair: str, variant: int | None) -> str:
    """Return where a comparison is; `variant` is the number of the synthetic set, if one takes part."""
    return f"matchers/{matcher}/compared/{pair}" + ("" if variant is None else f"-{variant}")


def scores_folder(matcher: int, key: str) -> str:
    """Return where the scores of a matcher without vectors are."""
    return f"matchers/{matcher}/scores/{key}"


def answer_member(matcher: int, number: int, array: int) -> str:
    """Return where an array of an answer is."""
    return f"matchers/{matcher}/answers/{number}-{array}.npy"


def image_member(name: str, number: int) -> str:
    """Return where the file of a picture is."""
    return f"images/{name}/{number:08d}"
