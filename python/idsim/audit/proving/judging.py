"""Whether estimates of many simulated audits are what theory says: each quantity beside its naive rival.

Limits: intervals must hold the truth in 93 to 97 % of runs (more is reported as wide, for intervals may be
conservative where hits are few), false alarms must be near their nominal rate, means near the truth: as near as three
standard deviations of chance, and where the runs are few for 93 to 97 %, that holds for coverage too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from idsim.audit.proving.simulation import World

__all__ = [
    "Facts",
    "Row",
    "coverage",
    "false_alarms",
    "kolmogorov_p",
    "least_p",
    "mean_rate",
    "power",
    "uniformity",
]

CONFIDENCE = 0.95
BAND = (0.93, 0.97)
LEVEL = 0.05
UNLIKELY = 3.0  # standard deviations of chance
LEAST_KS = 0.001
LEAST_POWER = 0.95


@dataclass(frozen=True)
class Row:
    """One quantity of one scenario.

    Attributes
    ----------
    scenario, quantity : str
        What was asked.
    naive, idsim : float
        What the naive estimate and the audit say.
    expected : str
        What is right.
    result : str
        ``pass``, ``pass, wide`` or ``fail``: of the audit.
    naive_fails : bool
        Whether the naive estimate is outside the limits.
    """

    scenario: str
    quantity: str
    naive: float
    idsim: float
    expected: str
    result: str
    naive_fails: bool

    @property
    def passed(self) -> bool:
        """Whether the audit is right."""
        return self.result != "fail"


@dataclass(frozen=True)
class Facts:
    """What the runs of one scenario gave, by name: float64 ``[runs]`` each.

    Attributes
    ----------
    scenario : str
        Its name.
    world : World
        What was drawn from.
    target : float
        Value of the operating point.
    hits : callable
        The chance by threshold that an image of a training person reaches one of the person's.
    values : dict
        The numbers.
    """

    scenario: str
    world: World
    target: float
    hits: Callable[[float], float]
    values: dict[str, NDArray[np.float64]]

    @classmethod
    def of(
        cls,
        scenario: str,
        world: World,
        target: float,
        hits: Callable[[float], float],
        runs: Sequence[dict[str, float]],
    ) -> Self:
        """Return the facts of a list of runs."""
        values = {name: np.array([run[name] for run in runs], np.float64) for name in runs[0]}
        return cls(scenario, world, target, hits, values)

    @property
    def runs(self) -> int:
        """How many there were."""
        return len(self.values["threshold"])

    def mean(self, name: str) -> NDArray[np.float64]:
        """Return the mean of a number over the runs, once per run: the truth of a rate without bias."""
        return np.full(self.runs, self.values[name].mean())

    def expected_excess(self) -> NDArray[np.float64]:
        """Return the expected excess at the threshold of each run: rate of leaks x (1 - FNMR) x (1 - LR_H).

        A leaked image that would match somebody by chance anyway is no excess.
        """
        found = np.array([self.hits(threshold) for threshold in self.values["threshold"]])
        return np.asarray(self.world.rate * found * (1 - self.mean("holdout")), dtype=np.float64)

    def row(self, quantity: str, naive: float, idsim: float, expected: str, result: str, fails: bool) -> Row:
        """Return a row of this scenario."""
        return Row(self.scenario, quantity, float(naive), float(idsim), expected, result, bool(fails))


def _limits(share: float, runs: int) -> tuple[float, float]:
    """Return between which shares of the runs a binomial one lies, but for a chance as of three sigma on each side."""
    k = np.arange(runs + 1)
    each = np.array([math.lgamma(runs + 1) - math.lgamma(i + 1) - math.lgamma(runs - i + 1) for i in k])
    chances = np.exp(each + k * math.log(share) + (runs - k) * math.log1p(-share))
    unlikely = 1 - NormalDist().cdf(UNLIKELY)
    low = int(np.searchsorted(np.cumsum(chances), unlikely, side="right"))
    high = runs - int(np.searchsorted(np.cumsum(chances[::-1]), unlikely, side="right"))
    return low / runs, high / runs


def _student(runs: int) -> float:
    """Return the quantile of Student's distribution that is as unlikely as three sigma of the normal one.

    Expansion in 1 / degrees of freedom: Abramowitz and Stegun 26.7.5.
    """
    z, freedom = UNLIKELY, runs - 1
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def coverage(facts: Facts, quantity: str, name: str, truth: NDArray[np.float64], rival: str) -> Row:
    """Judge how often an interval holds the truth; the rival interval is the naive one of `rival`."""
    values = facts.values
    shares = [
        ((values[f"{which} low"] <= truth) & (truth <= values[f"{which} high"])).mean()
        for which in (f"naive {rival}", name)
    ]
    chance = _limits(CONFIDENCE, facts.runs)
    low, high = min(BAND[0], chance[0]), max(BAND[1], chance[1])
    result = "fail" if shares[1] < low else "pass" if shares[1] <= high else "pass, wide"
    expected = f"{low:.1%} to {high:.1%}"
    return facts.row(quantity, shares[0], shares[1], expected, result, shares[0] < low)


def false_alarms(facts: Facts, quantity: str, *, exact: bool = True) -> Row:
    """Judge how often a p-value is at most 5 % where nothing leaks: `exact` also forbids that it is too rare."""
    shares = [float((facts.values[name] <= LEVEL).mean()) for name in ("naive p", "p")]
    low, high = _limits(LEVEL, facts.runs)
    low = low if exact else 0.0
    result = "pass" if low <= shares[1] <= high else "fail"
    return facts.row(
        quantity, shares[0], shares[1], f"{low:.1%} to {high:.1%}", result, not low <= shares[0] <= high
    )


def uniformity(facts: Facts) -> Row:
    """Judge whether p-values are uniform, by the test of Kolmogorov and Smirnov."""
    found = [kolmogorov_p(facts.values[name]) for name in ("naive p", "p")]
    result = "pass" if found[1] >= LEAST_KS else "fail"
    return facts.row(
        "p uniform (KS test)", found[0], found[1], f"at least {LEAST_KS}", result, found[0] < LEAST_KS
    )


def kolmogorov_p(values: NDArray[np.float64]) -> float:
    """Return the p-value of the two-sided test that values are uniform on [0, 1].

    Limit distribution with Stephens' correction for n (1970): good from n = 5 on.
    """
    ordered, n = np.sort(values), len(values)
    steps = np.arange(n + 1) / n
    distance = max(float((steps[1:] - ordered).max()), float((ordered - steps[:-1]).max()))
    scaled = distance * (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n))
    if scaled < 0.3:  # the series converges slowly, and the result is 1 to six digits
        return 1.0
    terms = [(-1) ** (k - 1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101)]
    return min(1.0, max(0.0, 2 * math.fsum(terms)))


def least_p(facts: Facts, least: float) -> Row:
    """Judge that no p-value is below the least that the number of exchanges allows: the observed order is one."""
    found = [facts.values[name].min() for name in ("naive p", "p")]
    result = "pass" if found[1] >= least * (1 - 1e-9) else "fail"
    return facts.row("least p", found[0], found[1], f"at least {least:g}", result, found[0] < least)


def mean_rate(facts: Facts, quantity: str, name: str, rival: str, truth: NDArray[np.float64]) -> Row:
    """Judge the mean of an estimate against the mean of the truth."""
    error = facts.values[name] - truth
    rival_error = facts.values[f"naive {rival}"] - truth
    limits = [
        _student(facts.runs) * max(float(each.std(ddof=1)), 1e-12) / math.sqrt(facts.runs)
        for each in (rival_error, error)
    ]
    result = "pass" if abs(error.mean()) <= limits[1] else "fail"
    expected = f"{truth.mean():.3%} +- {limits[1]:.3%}"
    fails = abs(rival_error.mean()) > limits[0]
    return facts.row(
        quantity,
        facts.values[f"naive {rival}"].mean(),
        facts.values[name].mean(),
        expected,
        result,
        fails,
    )


def power(facts: Facts) -> Row:
    """Judge how often leaks are found: the interval lies above 0, and p is at most 5 %."""
    values = facts.values
    found = [
        ((values[f"{which}excess low"] > 0) & (values[f"{which}p"] <= LEVEL)).mean()
        for which in ("naive ", "")
    ]
    low = _limits(LEAST_POWER, facts.runs)[0]
    result = "pass" if found[1] >= low else "fail"
    return facts.row("leaks found", found[0], found[1], f"at least {low:.1%}", result, found[0] < low)
