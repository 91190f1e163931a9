"""How often 95 % intervals of the statistics of persons hold the truth, in simulations with hubs.

    python -m bench.person_intervals [--trials 400] [--seed 0]

Clusters and persons attract hits by gamma-distributed factors; training persons are hit `boost` times as often as
holdout persons. The truth is the mean over many such worlds.
"""

from __future__ import annotations

import argparse

import numpy as np

from idsim.audit.pairs.compared import Compared
from idsim.audit.persons.exposure import Reached, measure_exposure
from idsim.audit.persons.lift import LiftAt, TailSide, tail_lift
from idsim.audit.persons.membership import PersonScores, infer_membership
from idsim.results import Pairs

# clusters, persons of both sets, mean number of hits, boost of training, shape of the gamma law (small: hubs)
WORLDS = [
    (80, 200, 400, 1, 1.0),
    (80, 200, 400, 3, 1.0),
    (150, 400, 120, 1, 0.5),
    (150, 400, 120, 2, 0.5),
    (300, 600, 60, 1, 5.0),
]


def world(rng, clusters, persons, mean, boost, shape):
    """Return bool [clusters, persons] of hits in training and in the holdout."""
    wild, meek = rng.gamma(shape, 1 / shape, clusters), rng.gamma(shape, 1 / shape, persons)
    rate = np.outer(wild, meek) * mean / (clusters * persons)
    rate[:, : persons // 2] *= boost
    hit = rng.random(rate.shape) < 1 - np.exp(-rate)
    return hit[:, : persons // 2], hit[:, persons // 2 :]


def pairs(hits):
    rows, columns = np.nonzero(hits)
    return Pairs(rows, columns, np.ones(len(rows), np.float32))


def tail(hits):
    nothing = np.empty((0, 1))
    found = Compared("cosine", nothing.astype(np.float32), nothing.astype(np.int64), 0.5, pairs(hits))
    return TailSide(found, np.arange(hits.shape[1]))


def holds(interval, truth):
    return interval.low <= truth <= interval.high


def simulate(rng, trials, shape):
    """Print coverage of excess exposure and lift, and how often p is at most 0.05."""
    worlds = [world(rng, *shape) for _ in range(trials)]
    shares = [[side.any(axis=0).mean() for side in sides] for sides in worlds]
    excess = np.mean([training - holdout for training, holdout in shares])
    rates = np.mean([[side.mean() for side in sides] for sides in worlds], axis=0)
    covered, small, lifts = [0, 0], 0, 0
    for _ in range(trials):
        training, holdout = world(rng, *shape)
        clusters, people = np.arange(len(training)), np.arange(training.shape[1])
        (lift,) = tail_lift(tail(training), tail(holdout), clusters, [LiftAt(0.5, None)], 300, rng)
        reached = [Reached(people, pairs(side)) for side in (training, holdout)]
        found = measure_exposure(*reached, clusters, len(clusters), 199, rng)
        covered[0] += holds(found.excess_interval, excess)
        small += found.p_value <= 0.05
        if lift.interval:
            lifts += 1
            covered[1] += holds(lift.interval, rates[0] / rates[1])
    print(
        f"{shape[0]:4} clusters {shape[1]:4} persons {shape[2]:4} hits, boost {shape[3]}, shape {shape[4]}: "
        f"excess exposure {excess:.3f} held {covered[0] / trials:.3f}, p <= 0.05 {small / trials:.3f}; "
        f"lift {rates[0] / rates[1]:.2f} held {covered[1] / lifts:.3f}"
    )


def simulate_areas(rng, trials, persons, shift):
    """Print coverage of the AUC, scores being normal in both sets."""
    truth = np.mean(rng.normal(shift, 1, 4_000_000) > rng.normal(0, 1, 4_000_000))
    covered = 0
    for _ in range(trials):
        sides = [
            PersonScores(rng.normal(mean, 1, persons), np.ones(persons, np.int64)) for mean in (shift, 0)
        ]
        covered += holds(infer_membership(*sides, 1, rng).auc_interval, truth)
    print(f"{persons:4} + {persons:4} persons: AUC {truth:.3f} held {covered / trials:.3f}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    for shape in WORLDS:
        simulate(rng, options.trials, shape)
    for persons, shift in ((50, 0.0), (50, 1.5), (500, 0.3)):
        simulate_areas(rng, options.trials, persons, shift)


if __name__ == "__main__":
    main()
