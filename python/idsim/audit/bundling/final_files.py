"""The final files of a run as a bundle has them: summaries as they are, tables as CSV, with or without names."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from idsim.audit.folder import CURVES, SUMMARY, difference
from idsim.audit.records import pseudonym
from idsim.audit.tables import csv_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from idsim.audit.records import Key

    Row = dict[str, Any]

__all__ = ["changed", "final_files", "summaries_in"]

TABLES = ("pairs", "images", "persons")
FAILURES = "failures.jsonl"


def final_files(folder: Path, key: Key) -> dict[str, bytes]:
    """Return the final files below a folder, by path.

    Parameters
    ----------
    folder : Path
        Of a run.
    key : bytes or mapping
        Bytes: names stay. A mapping has pseudonyms, which take their place.

    Returns
    -------
    dict
        ``summary.json`` and ``curves.json`` as they are; ``pairs.csv``, ``images.csv``, ``persons.csv``,
        ``failures.jsonl``.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name in (SUMMARY, CURVES):
            found[name] = path.read_bytes()
        elif path.name == FAILURES:
            found[name] = _failures(path, key)
        elif path.stem in TABLES and path.suffix in (".parquet", ".csv"):
            found[name.removesuffix(path.suffix) + ".csv"] = _table(path, key)
    return found


def summaries_in(folder: Path) -> dict[str, bytes]:
    """Return the summaries below a folder, by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob(SUMMARY))}


def changed(before: dict[str, bytes], now: dict[str, bytes]) -> list[str]:
    """Return a sentence for every file that is not the same in both, with the first value of JSON that differs."""
    sentences = []
    for name in sorted({*before, *now}):
        if name not in now:
            sentences.append(f"{name} is missing")
        elif name not in before:
            sentences.append(f"{name} was not there before")
        elif before[name] != now[name]:
            where = ""
            if name.endswith(".json"):
                where = difference(json.loads(before[name]), json.loads(now[name])) or "the order of its keys"
            sentences.append(f"{name} differs" + (f": {where}" if where else ""))
    return sentences


def _failures(path: Path, key: Key) -> bytes:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    if not isinstance(key, bytes):
        lines = [line | {"item": pseudonym(key, line["set"], line["item"])} for line in lines]
    return "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines).encode()


def _table(path: Path, key: Key) -> bytes:
    columns, rows = _read(path)
    hide = _HIDE[path.stem]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        shown = row if isinstance(key, bytes) else row | hide(row, key)
        writer.writerow(shown.values())
    return text.getvalue().encode()


def _read(path: Path) -> tuple[list[str], Iterator[Row]]:
    """Return the columns and the rows of a table; what is in them is what CSV shows."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            columns, *lines = csv.reader(file)
        return columns, (dict(zip(columns, line, strict=True)) for line in lines)
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    batches = (batch.to_pydict() for batch in table.to_batches())
    return table.column_names, (
        dict(zip(batch, map(csv_cell, row), strict=True))
        for batch in batches
        for row in zip(*batch.values(), strict=True)
    )


# --- names ----------------------------------------------------------------------------------------


def _person(kind: str) -> str:
    return "synthetic cluster" if kind == "synthetic" else f"{kind} person"


def _hide_pairs(row: Row, key: Key) -> Row:
    return {
        "synthetic": row["synthetic_pseudonym"],
        "cluster": pseudonym(key, _person("synthetic"), row["cluster"]),
        "image": row["image_pseudonym"],
        "person": row["person_pseudonym"],
    }


def _hide_images(row: Row, key: Key) -> Row:
    return {"item": row["pseudonym"], "label": pseudonym(key, _person(row["set"]), row["label"])}


def _hide_persons(row: Row, key: Key) -> Row:
    best = row["best_synthetic"]
    return {
        "person": row["pseudonym"],
        "best_synthetic": pseudonym(key, "synthetic", best) if best else best,
    }


_HIDE: dict[str, Callable[[Row, Key], Row]] = {
    "pairs": _hide_pairs,
    "images": _hide_images,
    "persons": _hide_persons,
}
