"""Finished runs of every kind, small enough to be packed and replicated many times."""

from __future__ import annotations

import numpy as np
from PIL import Image

from audit.score_makers import PAIRS, config_text, rows_of, write_rows, write_sets
from idsim.audit.proving.made_up import Population, make_population

SETS = ("synthetic", "training", "holdout")
FAST = (
    "[calibration]\nfpir = [0.1]\nfmr = [1e-2]\n[statistics]\nbootstrap = 100\npermutations = 99\ndraws = 5\n"
)
NAMES = {"synthetic": "canary-drawn", "training": "canary-member", "holdout": "canary-outsider"}
ITEM = "{0}-{1:03d}.png"
PEOPLE = Population(persons=40, clusters=30, leaks=10, dim=24)


def quick(monkeypatch):
    """Draw fewer random pairs where only that they are drawn matters, and decode with one process."""
    monkeypatch.setattr("idsim.audit.thresholds.sampled_impostors.SAMPLED_PAIRS", 1 << 14)
    monkeypatch.setattr("idsim.audit.analysis.checks.SAMPLED_PAIRS", 1000)
    monkeypatch.setattr("idsim.sources.decoding.MAX_WORKERS", 1)


def write_table(path, name, vectors, labels, strata=None):
    """Write embeddings with ids and groups that name people; their order is not that of the rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = len(vectors)
    columns = {
        "id": [ITEM.format(NAMES[name], (7 * row) % count) for row in range(count)],
        "group": [f"{NAMES[name]}-{(3 * label) % 1000}" for label in labels.tolist()],
        "embedding": pa.array(vectors.tolist(), pa.list_(pa.float32(), vectors.shape[1])),
    }
    if strata is not None:
        columns["cell"] = strata
    pq.write_table(pa.table(columns), path)


def embeddings(folder, more="", population=PEOPLE, strata=False):
    """A scan of tables of embeddings."""
    folder.mkdir()
    made = make_population(population)
    sets = ""
    for name in SETS:
        cells = [("f", "m")[label % 2] for label in made.labels[name].tolist()] if strata else None
        write_table(folder / f"{name}.parquet", name, made.vectors[name], made.labels[name], cells)
        sets += f'[{name}]\nembeddings = "{name}.parquet"\nlabels = "group"\n'
        sets += 'strata = "cell"\n' if strata else ""
    matcher = '[matcher]\nkind = "embeddings"\nname = "made-up"\nmetric = "cosine"\nlicence = "none needed"\n'
    (folder / "scan.toml").write_text(f'[run]\nname = "run"\ndir = "."\n{sets}{matcher}{FAST}{more}')
    return folder / "scan.toml"


def scores(folder, complete="true"):
    """A scan of scores, and ids that name people."""
    given, ids = write_sets(folder)
    files = {}
    for key, (left, right) in PAIRS.items():
        files[key] = f"of-{key}.csv"
        keep = None if complete == "true" else given[key] >= 0.1
        write_rows(folder / files[key], rows_of(given[key], ids[left], ids[right], keep))
    more = "" if complete == "true" else "floor = 0.1\n"
    (folder / "scan.toml").write_text(config_text(files, complete, more, FAST))
    return folder / "scan.toml"


def two_matchers(folder):
    """Two matchers over the same people."""
    folder.mkdir()
    sets, matchers = "", ""
    for number, label in enumerate(("first", "second")):
        made = make_population(Population(persons=40, clusters=30, leaks=10, dim=24, seed=number))
        paths = ""
        for name in SETS:
            write_table(folder / f"{name}-{number}.parquet", name, made.vectors[name], made.labels[name])
            paths += f'{name} = "{name}-{number}.parquet"\n'
        matchers += f'[[matcher]]\nname = "{label}"\nkind = "embeddings"\nmetric = "cosine"\n{paths}'
    for name in SETS:
        sets += f'[{name}]\nlabels = "group"\n'
    (folder / "scan.toml").write_text(f'[run]\nname = "run"\ndir = "."\n{sets}{matchers}{FAST}')
    return folder / "scan.toml"


DRAW = """
import numpy as np

def draw(seeds, psi=1.0):
    for seed in seeds:
        colours = np.random.RandomState(1000 + seed).randint(1, 256, (4, 4, 3))
        noise = np.random.RandomState(seed).randint(-5, 6, (16, 16, 3))
        yield (np.kron(colours, np.ones((4, 4, 1))) + psi * noise).clip(1, 255).astype(np.uint8)
"""


def pictures(folder, synthetic, more="", people=14):
    """A scan of pictures in folders that name people; drawn persons 0 to 13 are those of the training set."""
    folder.mkdir()
    (folder / "generator.py").write_text(DRAW)
    for name, start in (("training", 1000), ("holdout", 3000), ("probes", 5000)):
        for person in range(start, start + people):
            place = folder / name / f"canary-person-{person}"
            place.mkdir(parents=True)
            colours = np.random.RandomState(person).randint(1, 256, (4, 4, 3))
            Image.fromarray(np.kron(colours, np.ones((4, 4, 1))).astype(np.uint8)).save(
                place / "canary-face.png"
            )
    (folder / "synthetic").mkdir()
    for number in range(16):
        pixels = np.random.RandomState(995 + number).randint(1, 256, (4, 4, 3))
        Image.fromarray(np.kron(pixels, np.ones((4, 4, 1))).astype(np.uint8)).save(
            folder / "synthetic" / f"canary-fake-{number}.png"
        )
    (folder / "synthetic" / "canary-broken.jpg").write_bytes(b"no picture")
    (folder / "synthetic" / "canary-notes.txt").write_text("x")
    mirrored = "mirrored = true\n" if "mirrored" in more else ""
    sets = "".join(
        f'[{name}]\nimages = "{name}"\nlabels = "folder"\n{mirrored}'
        for name in ("training", "holdout", *(["probes"] if "probes" in more else []))
    )
    fast = FAST.replace("0.1]", "0.3]").replace("1e-2]", "0.1]")
    (folder / "scan.toml").write_text(
        f'[run]\nname = "run"\ndir = "."\n[synthetic]\n{synthetic}\n{sets}{fast}'
    )
    return folder / "scan.toml"
