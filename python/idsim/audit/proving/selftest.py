"""The audit's estimates under known truth: coverage, false alarms, recovered leak rates, beside naive estimates.

Every scenario is a world of made-up embeddings (`idsim.audit.proving.simulation`) that is drawn and audited many times
by the functions that a scan uses.
"""

from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.proving.judging import (
    Facts,
    Row,
    coverage,
    false_alarms,
    least_p,
    mean_rate,
    power,
    uniformity,
)
from idsim.audit.proving.naive import naive_rates
from idsim.audit.proving.planted import PLANTS, planted
from idsim.audit.proving.simulation import World, audit, mated_hits
from idsim.audit.rates.intervals import wilson
from idsim.audit.rates.leakage import Resampling
from idsim.audit.thresholds.calibration import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.sharedctypes import Synchronized

    from idsim.audit.proving.simulation import Trial
    from idsim.audit.thresholds.calibration import ErrorRate

__all__ = ["PLANTS", "SCENARIOS", "Report", "run"]

PERMUTATIONS = 499
RESAMPLING = Resampling(0.95, 600, PERMUTATIONS, 20)
FIXED = 0.38  # cosine: a false match rate of about 1e-3 in these worlds, as used to compare two pictures
BATCH = 10  # runs that a process takes at once


@dataclass(frozen=True)
class Scenario:
    """A world, the operating point at which it is audited, and what is asked of the results.

    `share` of the runs are enough for it.
    """

    world: World
    target: Target
    rows: Callable[[Facts], list[Row]]
    share: float = 0.4

    def runs(self, asked: int) -> int:
        """Return its runs, where `asked` are for the whole self-test."""
        return max(2, round(asked * self.share))


@dataclass(frozen=True)
class Report:
    """What a self-test found.

    Attributes
    ----------
    rows : list of Row
        One per quantity.
    runs, seed : int
        As `run` was called with.
    """

    rows: list[Row]
    runs: int
    seed: int

    @property
    def passed(self) -> bool:
        """Whether anything was checked and all of it is as expected."""
        return bool(self.rows) and all(row.passed for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        rows = [asdict(row) | {"passed": row.passed} for row in self.rows]
        return {"runs": self.runs, "seed": self.seed, "passed": self.passed, "rows": rows}


# --- what is asked --------------------------------------------------------------------------------


def _no_leaks(facts: Facts) -> list[Row]:
    nothing = np.zeros(facts.runs)
    return [
        coverage(facts, "interval holds 0", "excess", nothing, "excess"),
        false_alarms(facts, "p at most 5 %"),
        uniformity(facts),
        mean_rate(facts, "mean excess (naive: rate)", "excess", "training", nothing),
        mean_rate(facts, "mean excess (naive: fixed)", "excess", "fixed", nothing),
        mean_rate(facts, "mean rate against H", "holdout", "holdout", nothing + _rate_of_quantile(facts)),
    ]


def _rate_of_quantile(facts: Facts) -> float:
    """Return the expected rate of new searches through the holdout, at a threshold for an FPIR inside it.

    The threshold is the best but ``k`` of n scores, beyond which ``(k + 1) / (n + 1)`` of new ones lie; and the
    holdout's own searches go through one person fewer.
    """
    persons = facts.world.holdout
    n = persons * facts.world.images
    inside = (math.floor(facts.target * n) + 1) / (n + 1)
    return float(1 - (1 - inside) ** (persons / (persons - 1)))


def _leaks(facts: Facts) -> list[Row]:
    truth = facts.expected_excess()
    rows = [
        coverage(facts, "interval holds the leak rate", "excess", truth, "training"),
        mean_rate(facts, "mean excess (naive: rate)", "excess", "training", truth),
    ]
    if facts.world.rate < 0.1:
        return rows
    return [*rows, power(facts), least_p(facts, 1 / (PERMUTATIONS + 1))]


def _unequal(facts: Facts) -> list[Row]:
    nothing = np.zeros(facts.runs)
    return [
        coverage(facts, "interval holds 0", "excess", nothing, "excess"),
        false_alarms(facts, "p at most 5 %", exact=False),
        mean_rate(facts, "mean excess", "excess", "excess", nothing),
    ]


def _hubs(facts: Facts) -> list[Row]:
    return [
        coverage(facts, "interval holds 0", "excess", np.zeros(facts.runs), "excess"),
        false_alarms(facts, "p at most 5 %", exact=False),
    ]


def _contamination(facts: Facts) -> list[Row]:
    return [
        coverage(facts, "interval holds the FPIR", "fpir", facts.mean("fpir"), "fpir"),
        coverage(facts, "interval holds the FMR", "fmr", facts.mean("fmr"), "fmr"),
        coverage(facts, "interval holds the leak rate", "excess", facts.expected_excess(), "training"),
    ]


def _clusters(facts: Facts) -> list[Row]:
    truth = facts.expected_excess()
    return [
        coverage(facts, "interval holds the leak rate", "excess", truth, "excess"),
        mean_rate(facts, "mean excess", "excess", "excess", truth),
    ]


SCENARIOS: dict[str, Scenario] = {
    "no leaks": Scenario(World(sizes=(1, 2, 3, 4)), Target("fpir", 0.1), _no_leaks, 1.0),
    "leaks 0.1 %": Scenario(World(clusters=2000, leaks=(0.001,)), Target("fpir", 0.02), _leaks),
    "leaks 1 %": Scenario(World(clusters=1000, leaks=(0.01,)), Target("fpir", 0.02), _leaks),
    "leaks 10 %": Scenario(World(leaks=(0.1,)), Target("fpir", 0.02), _leaks),
    "T 3 times as large as H": Scenario(World(training=450, holdout=150), Target("fpir", 0.05), _unequal),
    "hubs": Scenario(World(common=0.7, hubs=0.01), Target("fpir", 0.05), _hubs),
    "persons twice in H": Scenario(World(twins=0.1, leaks=(0.1,)), Target("threshold", 0.45), _contamination),
    "20 images per cluster": Scenario(
        World(clusters=60, sizes=(20,), leaks=(0.1,)), Target("fpir", 0.05), _clusters
    ),
    "leaks in large clusters": Scenario(
        World(clusters=100, sizes=(1, 20), leaks=(0.02, 0.3)), Target("fpir", 0.05), _clusters
    ),
}


# --- running --------------------------------------------------------------------------------------


def run(
    runs: int = 1000,
    seed: int = 0,
    *,
    names: Sequence[str] = (),
    plant: str | None = None,
    processes: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Draw and audit every scenario, and judge the results.

    Parameters
    ----------
    runs : int
        Of the scenario without leaks; the others have 0.4 times as many. Limits are as wide as chance demands.
    seed : int
        The same seed gives the same results, with any number of processes.
    names : sequence of str
        Scenarios; all of `SCENARIOS` by default.
    plant : str, optional
        One of `PLANTS`: a bug to be found.
    processes : int
        That share the runs.
    progress : callable, optional
        Called with ``(scenario, done, runs)``.

    Raises
    ------
    ValueError
        A name is not known, or there are fewer than 2 runs.
    """
    chosen = list(names or SCENARIOS)
    unknown = [name for name in chosen if name not in SCENARIOS]
    if unknown:
        raise ValueError(f"there is no scenario {unknown[0]!r}: known are {', '.join(SCENARIOS)}")
    if plant is not None and plant not in PLANTS:
        raise ValueError(f"there is no bug {plant!r} to plant: known are {', '.join(PLANTS)}")
    if runs < 2:
        raise ValueError(f"runs must be at least 2, not {runs}")
    rows = []
    with contextlib.ExitStack() as stack:
        spread = _pool(processes, stack) if processes > 1 else map
        for name in chosen:
            scenario = SCENARIOS[name]
            count = scenario.runs(runs)
            values: list[dict[str, float]] = []
            ranges = [range(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
            for batch in spread(functools.partial(_batch, name, seed, plant), ranges):
                values += batch
                if progress is not None:
                    progress(name, len(values), count)
            hits = mated_hits(scenario.world, np.random.default_rng([seed, _number(name)]))
            rows += scenario.rows(Facts.of(name, scenario.world, scenario.target.value, hits, values))
    return Report(rows, runs, seed)


def _number(name: str) -> int:
    return list(SCENARIOS).index(name)


def _pool(processes: int, stack: contextlib.ExitStack) -> Callable[..., Iterator[list[dict[str, float]]]]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _take_processor, (context.Value("i", 0),))
    stack.callback(pool.shutdown, cancel_futures=True)  # an interrupted test does not wait for what is left
    return pool.map


def _take_processor(taken: Synchronized[int]) -> None:
    """Give this process one processor: in such small searches threads mostly wait for each other."""
    with taken.get_lock():
        number, taken.value = taken.value, taken.value + 1
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[number % len(processors)]})


def _batch(name: str, seed: int, plant: str | None, numbers: range) -> list[dict[str, float]]:
    scenario = SCENARIOS[name]
    estimator = planted(plant)
    return [
        _facts(
            audit(
                scenario.world,
                scenario.target,
                RESAMPLING,
                estimator,
                np.random.default_rng([seed, _number(name), number]),
            )
        )
        for number in numbers
    ]


def _facts(trial: Trial) -> dict[str, float]:
    """Return what is kept of one audit: the audit's estimates, and the naive ones with ``naive`` before."""
    leakage, sample = trial.leakage, trial.sample
    naive = naive_rates(sample.synthetic, sample.training, sample.holdout, trial.threshold)
    facts = {
        "threshold": trial.threshold,
        "excess": leakage.excess,
        "excess low": leakage.excess_interval.low,
        "excess high": leakage.excess_interval.high,
        "training": leakage.training.rate,
        "holdout": leakage.holdout.rate,
        "p": leakage.p_value,
        "naive excess": naive.training - naive.holdout,
        "naive excess low": naive.excess_interval[0],
        "naive excess high": naive.excess_interval[1],
        "naive training": naive.training,
        "naive training low": naive.training_interval[0],
        "naive training high": naive.training_interval[1],
        "naive holdout": naive.holdout,
        "naive fixed": naive_rates(sample.synthetic, sample.training, sample.holdout, FIXED).training,
        "naive p": naive.p_value,
    }
    for name, rate in (("fpir", trial.point.fpir), ("fmr", trial.point.fmr)):
        facts |= _error_facts(name, rate)
    return facts


def _error_facts(name: str, rate: ErrorRate | None) -> dict[str, float]:
    assert rate is not None, "the holdouts of all scenarios have several persons"
    low, high = wilson(rate.rate, rate.trials)
    return {
        name: rate.rate,
        f"{name} low": rate.interval.low,
        f"{name} high": rate.interval.high,
        f"naive {name} low": low,
        f"naive {name} high": high,
    }
