"""From a matcher's name and pairs of pictures to a verdict on its specification: what ``idsim matcher check`` does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.matchers.check import FEW_PAIRS, Finding, Verdict, check_embedder, judge
from idsim.matchers.faces import AlignedMatcher
from idsim.matchers.opening import open_matcher
from idsim.matchers.options import RunOptions
from idsim.matchers.pairs import crops_of_pairs, read_pairs
from idsim.matchers.pixel_maps import other_pixel_maps

if TYPE_CHECKING:
    import os

    from idsim.matchers.pairs import Crops, PicturePairs

__all__ = ["CheckedMatcher", "check_matcher"]


@dataclasses.dataclass(frozen=True)
class CheckedMatcher:
    """What was found out about a matcher.

    Attributes
    ----------
    matcher : dict
        Its description.
    findings : list of Finding
        What was looked at.
    without_face : list of str
        Names of the pictures in which no face was found, or none that can be aligned.
    verdict : Verdict
        What all that says of the specification.
    """

    matcher: dict[str, Any]
    findings: list[Finding]
    without_face: list[str]
    verdict: Verdict

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values."""
        words = {True: "looks right", False: "looks wrong", None: "cannot be judged"}
        return {
            "matcher": self.matcher,
            "verdict": words[self.verdict.right],
            "severity": self.verdict.severity,
            "sentence": self.verdict.sentence,
            "findings": [dataclasses.asdict(entry) for entry in self.findings],
            "without_face": self.without_face,
        }


def check_matcher(
    place: str,
    pairs: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] = "",
    detector: str = "",
    align: str = "",
    options: RunOptions | None = None,
) -> CheckedMatcher:
    """Check a matcher's specification with pairs of pictures.

    Parameters
    ----------
    place, model, detector, align, options
        As of `idsim.matchers.opening.open_matcher`; with the alignment ``none`` the pictures are the matcher's crops.
    pairs : path-like
        As of `idsim.matchers.pairs.read_pairs`.

    Raises
    ------
    ValueError
        A text means nothing, or the matcher makes no crops of its own: a function that is a whole matcher.
    MatcherError
        The matcher, the list or a picture cannot be used.
    CudaError
        A GPU is asked for and cannot be used.
    ModuleNotFoundError
        A library or a package with weights is not installed.
    OSError
        A file cannot be read.
    """
    options = options or RunOptions()
    # With a detector named, dlib is a detector, an alignment and a network too; the vectors are the same.
    plain_dlib = place == "dlib" and not (model or detector or align)
    matcher = open_matcher(
        place, model=model, detector="dlib" if plain_dlib else detector, align=align, options=options
    )
    if not isinstance(matcher, AlignedMatcher):
        raise ValueError(
            f"{place} is a whole matcher and shows no crops: only matchers that do can be checked"
        )
    listed = read_pairs(Path(pairs))
    cut = crops_of_pairs(matcher, listed)
    description = matcher.describe()
    findings = [_pictures(listed, cut)]
    if len(cut.crops):
        files = description.get("files")
        trusted = frozenset(files.values()) if isinstance(files, dict) else frozenset()
        others = other_pixel_maps(place, model=model, options=options, trusted=trusted)
        findings += check_embedder(matcher.embedder, cut.crops, cut.pairs, others)
    return CheckedMatcher(description, findings, cut.without_face, judge(findings))


def _pictures(listed: PicturePairs, cut: Crops) -> Finding:
    total, missing = len(listed.files), len(cut.without_face)
    values = {
        "pictures": total, "without_face": missing, "pairs_listed": len(listed.pairs), "pairs_left": len(cut.pairs),
    }  # fmt: skip
    if not missing:
        return Finding("pictures", True, values, f"{total} pictures, each with a crop")
    sentence = (
        f"no face in {missing} of {total} pictures; {len(cut.pairs)} of {len(listed.pairs)} pairs are left"
    )
    if not len(cut.crops):
        sentence += f", and at least {FEW_PAIRS} same and {FEW_PAIRS} different ones are needed"
    return Finding("pictures", None, values, sentence)
