"""Persons and files that stand in two sets by name or content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim.audit.diagnostics.findings import Finding

if TYPE_CHECKING:
    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.faces import FaceSet

__all__ = ["equal_files", "without_shared"]


def without_shared(
    config: ScanConfig, training: FaceSet, holdout: FaceSet
) -> tuple[FaceSet, list[dict[str, Any]]]:
    """Return the holdout without the persons that both real sets name, and the check that says so."""
    if "each" in (config.training.labels, config.holdout.labels):
        return holdout, []
    shared = set(training.labels) & set(holdout.labels)
    if not shared:
        return holdout, []
    count = len(shared)
    sentence = f"{count} persons are named in training and in holdout; they were taken out of the holdout."
    return holdout.without(shared), [
        Finding("shared persons", "warning", sentence, {"persons": count}).entry()
    ]


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
