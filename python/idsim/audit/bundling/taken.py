"""What a replication cannot compute again is taken from the bundle's own summary, and said to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim.audit.faces import NOT_REDONE

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Taken"]

MARK = next(iter(NOT_REDONE))

# Checks that rest on embeddings, and one that rests on names of files and folders.
OF_EMBEDDINGS = ("impostor scores", "impostor scores differ")
OF_NAMES = ("holdout was trained on",)


class Taken:
    """Summaries completed from those of the run; what was taken is noted.

    Parameters
    ----------
    root : Path
        Folder of the replicated run.
    summaries : dict
        The run's summaries, by path below its folder.
    named : bool
        Whether names are known: if they are, no check that rests on them is taken.

    Attributes
    ----------
    parts : list of tuple
        Path of a summary, and place of a part in it.
    """

    def __init__(self, root: Path, summaries: dict[str, dict[str, Any]], named: bool) -> None:
        self._root, self._summaries = root, summaries
        self._of_names = () if named else OF_NAMES
        self.parts: list[tuple[str, str]] = []

    def __call__(self, folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
        """Return a summary with the parts that cannot be computed, as the run has them."""
        name = (folder / "summary.json").relative_to(self._root).as_posix()
        before = self._summaries.get(name, {})
        filled: dict[str, Any] = self._filled(summary, before, name, "")
        if isinstance(before.get("checks"), list) and "checks" in filled:
            filled["checks"] = self._with_checks(filled["checks"], before["checks"], name)
        if _stems(filled.get("tables")) == _stems(before.get("tables")):
            filled["tables"] = before["tables"]  # Parquet or CSV, as the run wrote them
        return filled

    def _filled(self, now: Any, before: Any, name: str, place: str) -> Any:
        if not isinstance(now, dict):
            return now
        known = before if isinstance(before, dict) else {}
        if MARK not in now:
            return {
                key: self._filled(value, known.get(key), name, f"{place}.{key}" if place else key)
                for key, value in now.items()
            }
        kept = {key: value for key, value in now.items() if key != MARK}
        missing = {key: value for key, value in known.items() if key not in kept}
        self.parts += [(name, f"{place}.{key}") for key in missing] if kept else [(name, place)]
        return kept | missing

    def _with_checks(
        self, now: list[dict[str, Any]], before: list[dict[str, Any]], name: str
    ) -> list[dict[str, Any]]:
        """Return checks with those of the run that rest on what is not there, where they stood."""
        merged: list[dict[str, Any]] = []
        left = list(now)
        possible = OF_EMBEDDINGS + self._of_names
        for check in before:
            if check in left:
                place = left.index(check)
                merged += left[: place + 1]
                left = left[place + 1 :]
            elif isinstance(check, dict) and check.get("check") in possible and check not in merged:
                merged.append(check)
                self.parts.append((name, f"checks.{check['check']}"))
        return merged + left


def _stems(tables: Any) -> list[str]:
    return [str(table).rpartition(".")[0] for table in tables] if isinstance(tables, list) else []
