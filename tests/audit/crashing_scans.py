"""Scans that are killed, refused, damaged and shared out: a program, because it forks for every case.

Usage: crashing_scans.py FOLDER {embeddings,pictures} {points,kills,damage,jobs} [SHARE], with what it found as JSON on
standard output. A SHARE of n takes every n-th case.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import numpy.random
import pyarrow.parquet  # noqa: F401 - what a scan imports when it needs it is imported before the forks
import typer
from PIL import Image

import idsim.audit.embedding
import idsim.audit.setting_up
import idsim.audit.work
from audit.test_scan_pictures import GridMatcher
from idsim import images
from idsim.audit.proving.made_up import Population, make_population
from idsim.audit.run import scan
from idsim.audit.work import Job
from idsim.cli import failures
from idsim.cli.scan import unfinished
from idsim.sources.decoding import Decoder
from support.crash_points import KILLED, attempt, modes_of, points_of, random_kills, snapshot

SETS = ("synthetic", "training", "holdout")
NO_RESULT = ("times.json", ".lock", ".merge")
FULL, BROKEN = 4, 2  # exit status
MORE = """[comparisons]
sets = ["SxT", "SxH", "HxH", "HxT"]
[calibration]
fpir = [0.2]
fmr = [0.02]
[statistics]
bootstrap = 100
permutations = 99
"""


# --- the scans ------------------------------------------------------------------------------------


def write_embeddings(folder, seed=0):
    """Two matchers, each of which sees the same persons in vectors of its own."""
    sets = "".join(
        f'[{name}]\nlabels = "{name}-{"clusters" if name == "synthetic" else "persons"}.npy"\n'
        for name in SETS
    )
    matchers = ""
    for number, label in enumerate(("first", "second")):
        made = make_population(Population(persons=24, clusters=20, leaks=4, dim=24, seed=2 * seed + number))
        paths = "".join(f'{name} = "{name}-{label}.npy"\n' for name in SETS)
        matchers += f'[[matcher]]\nname = "{label}"\nkind = "embeddings"\nmetric = "cosine"\n{paths}'
        for name in SETS:
            np.save(folder / f"{name}-{label}.npy", made.vectors[name])
            kind = "clusters" if name == "synthetic" else "persons"
            np.save(folder / f"{name}-{kind}.npy", np.char.add(f"{name}-", made.labels[name].astype(str)))
    return write_config(folder, sets + matchers)


def write_pictures(folder, seed=0):
    """A few pictures of coloured squares; some synthetic ones show what a training picture shows."""
    rng = np.random.default_rng(seed)
    shown = {name: rng.integers(1, 256, (24, 4, 4, 3)) for name in SETS}
    shown["synthetic"][:4] = shown["training"][:4]
    for name in SETS:
        (folder / name).mkdir()
        for number, squares in enumerate(shown[name]):
            pixels = np.kron(squares, np.ones((4, 4, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return write_config(folder, "".join(f'[{name}]\nimages = "{name}"\n' for name in SETS))


def write_config(folder, tables):
    config = folder / "scan.toml"
    config.write_text(f'[run]\nname = "run"\ndir = "."\n{tables}{MORE}')
    return config


def small_shards():
    """Several shards of everything; pictures are decoded in this process: to start others takes longer than a scan."""
    idsim.audit.work.RANGE_PAIRS = 200 if KIND == "pictures" else 800
    idsim.audit.embedding.SHARD_ITEMS = 8 if KIND == "pictures" else 16
    idsim.audit.setting_up.matcher_of = lambda *_: GridMatcher()
    Decoder.decode = lambda self, data: images.decode(data)


def command(config, job=None, merge_only=False):
    """A piece of work, up to its exit status: `idsim scan` without its tables, which take longer than the scan."""

    def work():
        try:
            with unfinished(), failures.resumable("shards"):
                scan(config, job=job, merge_only=merge_only)
        except typer.Exit as end:
            return end.exit_code
        except Exception as error:  # noqa: BLE001 - as the command line does
            traceback.print_exc()
            return (failures.describe(error) or (failures.INTERNAL,))[0]
        return 0

    return work


class Disturbed:
    """A scan, and the bytes that it must end in."""

    def __init__(self, config):
        self.config, self.folder, self.log = config, config.parent / "run", config.parent / "log"
        self.work = command(config)
        status, calls = attempt(self.work, self.folder, log=self.log)
        assert status == 0, self.log.read_text()
        self.points = points_of(calls)
        self.whole = snapshot(self.folder, NO_RESULT)
        self.faults = []

    def check(self, case, status=0):
        """Note a case that did not end in the bytes of the undisturbed scan, or left a temporary file."""
        now = snapshot(self.folder, NO_RESULT)
        different = sorted(name for name in {*self.whole, *now} if self.whole.get(name) != now.get(name))
        if status or different:
            self.faults.append(
                [str(case), status, different[:4], self.log.read_text()[-300:] if status else ""]
            )

    def clear(self):
        shutil.rmtree(self.folder, ignore_errors=True)


# --- what is done to them -------------------------------------------------------------------------


def points(held, share):
    """Every system call goes wrong in every way; then the same command goes on."""
    cases = [(point, mode) for point in held.points for mode in modes_of(point)]
    expected = {"full": FULL, "broken": BROKEN}
    chosen = cases[::share]
    if share > 1:  # what nothing but the order of calls protects is always tried
        critical = ("provenance.json", "summary.json")
        chosen += [case for case in cases if case[1] == "torn" and case[0].file.endswith(critical)]
    for point, mode in chosen:
        held.clear()
        status, _ = attempt(held.work, held.folder, point, mode, held.log)
        if status != expected.get(mode, KILLED):
            held.faults.append([str(point), mode, status, held.log.read_text()[-300:]])
        held.check((point, mode), attempt(held.work, held.folder, log=held.log)[0])
    calls = {
        name: sum(point.call == name for point in held.points)
        for name in sorted({p.call for p in held.points})
    }
    return {"points": len(held.points), "calls": calls, "cases": len(chosen)}


def kills(held, share):
    """SIGKILL at random moments."""
    held.clear()
    count = max(1, 200 // share)
    finished = random_kills(
        held.work, held.folder, count, np.random.default_rng(0), lambda: held.check("kill")
    )
    return {"kills": count, "finished": finished}


def damages(data, other, foreign):
    """Ways to damage a shard; `other` is another one of the run, `foreign` the same one of another run."""
    head = data.index(b"\n", data.index(b"\n") + 1)
    flipped = {
        "magic": 3, "key": data.index(b'"key"') + 9, "header": head - 2, "payload": (head + len(data) - 32) // 2,
        "trailer": len(data) - 5,
    }  # fmt: skip
    found = {name: data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :] for name, at in flipped.items()}
    return found | {
        "one byte less": data[:-1], "half": data[: len(data) // 2], "trailer only": data[-32:], "empty": b"",
        "longer": data + b"\0", "zeros": bytes(len(data)), "another shard": other, "another run": foreign,
    }  # fmt: skip


def damage(held, share):
    """Every shard is damaged in every way: it alone is computed again."""
    elsewhere = held.config.parent / "elsewhere"
    elsewhere.mkdir()
    foreign = Disturbed(WRITERS[KIND](elsewhere, seed=1))
    shards = sorted(name for name in held.whole if name.endswith(".bin"))
    cases = list(enumerate((name, kind) for name in shards for kind in damages(*[held.whole[name]] * 3)))
    recomputed = 0
    chosen = cases[::share]
    for number, (name, kind) in chosen:
        other = shards[(shards.index(name) + 1 + number) % len(shards)]
        if other == name:
            other = shards[shards.index(name) - 1]
        recomputed += redo(
            held, {name: damages(held.whole[name], held.whole[other], foreign.whole[name])[kind]}, kind
        )
    pairs = list(itertools.pairwise(shards))[::share]
    for first, second in pairs:
        recomputed += redo(held, {first: held.whole[second], second: held.whole[first]}, "swapped")
    return {"shards": len(shards), "cases": len(chosen) + len(pairs), "recomputed": recomputed}


def redo(held, damaged, kind):
    """Damage shards, let the scan write its results again, and return how many shards it computed."""
    for name, data in damaged.items():
        (held.folder / name).write_bytes(data)
    for summary in [*held.folder.rglob("summary.json")]:
        summary.unlink()
    status, calls = attempt(held.work, held.folder, log=held.log)
    written = {point.file for point in calls if point.call == "rename" and point.file.endswith(".bin")}
    if written != set(damaged):
        held.faults.append([sorted(damaged), kind, sorted(written)])
    held.check((sorted(damaged), kind), status)
    return len(written)


def jobs(held, share):
    """A scan shared out among jobs, in any order, one of them killed and run again."""
    rng = np.random.default_rng(0)
    orders = [
        (count, order)
        for count in (1, 2, 3, 7)
        for order in (
            itertools.permutations(range(count))
            if count < 4
            else [tuple(rng.permutation(count)) for _ in range(8)]
        )
    ][:: max(1, share)]
    commands = 0
    for count, order in orders:
        held.clear()
        job = [command(held.config, Job(number, count)) for number in range(count)]
        victim = int(rng.integers(count))
        states = []
        for round_number in range(4):
            for number in order:
                if round_number == 0 and number == victim:
                    point = held.points[int(rng.integers(len(held.points)))]
                    attempt(job[number], held.folder, point, "before", held.log)
                states.append(attempt(job[number], held.folder, log=held.log)[0])
                commands += 1
            if states[-1] == 0:
                break
        if set(states) - {0, FULL}:
            held.faults.append(
                [count, [int(number) for number in order], states, held.log.read_text()[-300:]]
            )
        held.check(
            (count, order), attempt(command(held.config, merge_only=True), held.folder, log=held.log)[0]
        )
    return {"orders": len(orders), "commands": commands}


WRITERS = {"embeddings": write_embeddings, "pictures": write_pictures}
WAYS = {function.__name__: function for function in (points, kills, damage, jobs)}
KIND = sys.argv[2]


def run():
    small_shards()
    folder = Path(sys.argv[1])
    started = time.perf_counter()
    held = Disturbed(WRITERS[KIND](folder))
    found = WAYS[sys.argv[3]](held, int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    seconds = round(time.perf_counter() - started, 1)
    sys.stdout.write(json.dumps({**found, "faults": held.faults[:8], "seconds": seconds}))


if __name__ == "__main__":
    run()
