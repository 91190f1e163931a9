"""Scores of embeddings, written in every form in which a matcher may give them."""

from __future__ import annotations

import csv

import numpy as np

from idsim import reference
from idsim.audit.proving.made_up import Population, make_population, write_population

SMALL = Population(persons=60, clusters=50, leaks=16, dim=96, seed=3)
PAIRS = {
    "training": ("synthetic", "training"),
    "holdout": ("synthetic", "holdout"),
    "calibration": ("holdout", "holdout"),
    "cross": ("holdout", "training"),
}
TAIL = """
[calibration]
fpir = [0.05]
fmr = [1e-2]

[statistics]
bootstrap = 300
permutations = 999
"""


def ids_of(name, count):
    """Ids whose alphabetical order is not their order."""
    return [f"{name}-{(7 * row) % count}" for row in range(count)]


def write_sets(folder, metric="cosine"):
    """Write the made-up embeddings with their scan, and return all score matrices by key, and the ids by set."""
    made = make_population(SMALL)
    config = write_population(made, folder)
    text = config.read_text()
    text = text[: text.index("[calibration]")].replace('"cosine"', f'"{metric}"')
    config.write_text(text + TAIL)
    ids = {name: ids_of(name, len(vectors)) for name, vectors in made.vectors.items()}
    for name, names in ids.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "group"])
            writer.writerows(
                [item, f"{name}-{label}"] for item, label in zip(names, made.labels[name], strict=True)
            )
    scores = {
        key: reference.score_matrix(made.vectors[left], made.vectors[right], metric).astype(np.float32)
        for key, (left, right) in PAIRS.items()
    }
    return scores, ids


def write_rows(path, rows):
    """Write (probe, gallery, score) in the form of the suffix."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        probes, galleries, scores = zip(*rows, strict=True)
        table = {"probe_id": probes, "gallery_id": galleries, "score": pa.array(scores, pa.float32())}
        pq.write_table(pa.table(table), path)
    elif path.suffix == ".csv":
        lines = [
            "query_id,gallery_id,score",
            *(f"{probe},{gallery},{score!s}" for probe, gallery, score in rows),
        ]
        path.write_text("\n".join(lines) + "\n")
    else:
        path.write_text("".join(f"c {gallery} r {probe} {score!s}\n" for probe, gallery, score in rows))


def rows_of(matrix, probes, galleries, keep=None):
    places = np.argwhere(np.ones(matrix.shape, bool) if keep is None else keep)
    return [(probes[row], galleries[column], matrix[row, column]) for row, column in places.tolist()]


def config_text(files, complete="true", more="", tail=TAIL):
    sets = "".join(
        f'[{name}]\nids = "{name}.csv"\nlabels = "group"\n' for name in ("synthetic", "training", "holdout")
    )
    listed = "".join(f'{key} = "{name}"\n' for key, name in files.items())
    return (
        f'schema = 1\n[run]\nname = "scores"\ndir = "."\n{sets}[matcher]\nkind = "scores"\n'
        f'[scores]\n{listed}complete = "{complete}"\n{more}{tail}'
    )
