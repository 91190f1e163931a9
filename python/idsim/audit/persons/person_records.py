"""The table of the persons of the training set: a row for each, with names and pseudonyms. A working file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.records import pseudonyms

if TYPE_CHECKING:
    from idsim.audit.evaluation import Evaluation
    from idsim.audit.records import Key

__all__ = ["PERSON_TYPES", "person_columns"]

# Types of the columns that may hold nothing but missing values.
PERSON_TYPES = {
    "best_synthetic": "string",
    "margin": "float64",
    "p": "float64",
    "q": "float64",
    "best_score": "float64",
}


def person_columns(evaluation: Evaluation, key: Key) -> dict[str, list[Any]]:
    """Return the persons of the training set as columns; empty where they were not compared.

    ``person`` and ``pseudonym``; ``images`` of the person; synthetic ``clusters`` that reach the person at the
    primary operating point; ``best_score`` of any synthetic image, ``best_synthetic`` its name; ``margin`` over the
    best-matched person of the holdout; ``p`` and ``q`` of the number of clusters among the persons of the holdout.
    """
    table = evaluation.analysis.persons
    if table is None:
        return {}
    sets = evaluation.sets
    labels = sets.training.codes()[1]
    names = [labels[code] for code in table["person"].tolist()]
    known = pseudonyms(key, "training person", names)
    synthetic = [sets.synthetic.items[row] for row in sets.synthetic.rows.tolist()]
    return {
        "person": names,
        "pseudonym": [known[name] for name in names],
        "images": table["images"].tolist(),
        "clusters": table["clusters"].tolist(),
        "best_score": _finite(table["best_score"]),
        "best_synthetic": [synthetic[row] if row >= 0 else None for row in table["best_synthetic"].tolist()],
        "margin": _finite(table["margin"]),
        "p": _finite(table["p"]),
        "q": _finite(table["q"]),
    }


def _finite(values: Any) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
