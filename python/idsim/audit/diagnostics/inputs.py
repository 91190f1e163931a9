"""Persons and files that stand in two sets by name or content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim.audit.diagnostics.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.faces import FaceSet

__all__ = ["equal_files", "shared_persons", "without_shared"]


def without_shared(
    config: ScanConfig, training: FaceSet, holdout: FaceSet
) -> tuple[FaceSet, list[dict[str, Any]]]:
    """Return the holdout without the persons that both real sets name, and the check that says so."""
    if "each" in (config.training.labels, config.holdout.labels):
        return holdout, []
    shared = shared_persons(training.labels, holdout.labels)
    if not shared:
        return holdout, []
    count = len(shared)
    sentence = f"{count} persons are named in training and in holdout; they were taken out of the holdout."
    return holdout.without(shared), [
        Finding("shared persons", "warning", sentence, {"persons": count}).entry()
    ]


def shared_persons(training: Iterable[str], holdout: Iterable[str]) -> set[str]:
    """Return the persons that both real sets name.

    Raises
    ------
    ValueError
        They are the whole holdout.
    """
    apart = set(holdout)
    shared = set(training) & apart
    if shared == apart and shared:
        raise ValueError(
            f"[holdout] names only persons of [training], such as {min(shared)!r}: nobody is left in the holdout, "
            "which needs people who were not trained on. Where the same label means different people in the two sets, "
            "rename the folders or labels of one of them"
        )
    return shared


def equal_files(sets: list[FaceSet]) -> list[dict[str, Any]]:
    """Return a check for every two sets with equal files."""
    checks = []
    for number, first in enumerate(sets):
        for second in sets[number + 1 :]:
            count = len(_contents(first) & _contents(second))
            if count:
                sentence = f"{count} files have the same bytes in {first.name} and in {second.name}."
                checks.append(Finding("equal files", "warning", sentence, {"files": count}).entry())
    return checks


def _contents(faces: FaceSet) -> set[str]:
    return {str(record["sha256"]) for record in faces.records if len(str(record.get("sha256", ""))) == 64}
