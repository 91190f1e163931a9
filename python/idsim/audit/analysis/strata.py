"""Leak rates by stratum, such as sex and age group, where the sets say what their items belong to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.analysis.context import Context, refused
from idsim.audit.pairs.tails import UnsupportedError
from idsim.audit.rates.excess import Excess, Gallery, Resampling
from idsim.audit.rates.resampling import image_counts
from idsim.audit.rates.strata_cells import (
    UNKNOWN,
    CellGallery,
    Searched,
    cell_draws,
    check_weights,
    person_cells,
)
from idsim.audit.rates.strata_impostors import CellImpostors, same_cell_rate
from idsim.audit.rates.strata_rates import Standardised, cell_excess, standardised_excess
from idsim.audit.significance.multiple import holm
from idsim.audit.significance.percentiles import interval_entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idsim.audit.rates.resampling import Draw
    from idsim.audit.thresholds.calibration import ErrorRate

__all__ = ["strata"]

# A rate of fewer clusters, or against fewer persons, says little of a cell.
FEWEST_CLUSTERS = 30
FEWEST_PERSONS = 30
# More are no groups of people.
MOST_STRATA = 200
# Matched galleries of every cell: the rates are means over them.
MOST_DRAWS = 25

REAL = ("training", "holdout")


@dataclass(frozen=True)
class _Strata:
    """The sets with the codes of their cells; `galleries` have cells only where both real sets do."""

    names: list[str]
    searched: Searched
    galleries: tuple[CellGallery, CellGallery]
    draws: Sequence[Draw]
    mixed: dict[str, int]
    resampling: Resampling

    @property
    def of_persons(self) -> bool:
        """Whether the cells of the real persons are known."""
        return self.galleries[0].cells is not None

    def share(self, cell: int) -> float:
        """Return the share of a cell in the synthetic set, every cluster counting the same."""
        weights = self.searched.weights()
        return float(weights[self.searched.cells == cell].sum() / weights.sum())

    def persons(self, cell: int) -> tuple[int, int]:
        """Return how many persons of training and of the holdout are of a cell."""
        counts = [0 if side.cells is None else int((side.cells == cell).sum()) for side in self.galleries]
        return counts[0], counts[1]


def strata(context: Context) -> dict[str, Any]:
    """Return excess leak rates and false match rates by stratum at the primary operating point."""
    if context.sets.synthetic.strata is None:
        return refused(
            "[synthetic] has no strata: groups such as sex and age, one for every item, are needed"
        )
    threshold = context.threshold
    if threshold is None:
        return refused("the primary operating point is refused")
    try:
        found = _strata(context, threshold)
    except UnsupportedError as error:
        return refused(str(error))
    if not found.draws:
        return refused("no stratum is in training and in the holdout")
    cells = range(len(found.names))
    every = [_against_every_person(found, cell) for cell in cells]
    same = [_against_own_cell(found, cell) for cell in cells]
    impostors = _impostors(context, found, threshold)
    columns = zip(
        cells,
        _excess_entries(every),
        _excess_entries(same),
        _rate_entries(impostors, len(cells), context.confidence),
        strict=True,
    )
    return {
        "operating_point": context.points[0].point.target.name,
        "matched_by_strata": found.of_persons,
        "items_without_stratum": int((found.searched.cells == UNKNOWN).sum()),
        "persons_of_several_strata": found.mixed,
        "strata": [
            _cell_entry(found, cell) | {"every_person": one, "same_stratum": other, "same_stratum_fmr": rate}
            for cell, one, other, rate in columns
        ],
        "standardised": _standardised(context, found, every, same),
        "false_matches": _false_matches(context, impostors),
    }


def _strata(context: Context, threshold: float) -> _Strata:
    sets, statistics = context.sets, context.config.statistics
    known = {name: faces.strata for name, faces in sets.faces.items() if faces.strata is not None}
    of_persons = set(REAL) <= set(known)
    used = [name for name in known if of_persons or name == "synthetic"]
    names = sorted({cell for name in used for cell in known[name] if cell})
    if len(names) > MOST_STRATA:
        raise UnsupportedError(
            f"there are {len(names)} strata: up to {MOST_STRATA} are taken for groups of people"
        )
    code = {cell: number for number, cell in enumerate(names)} | {"": UNKNOWN}
    codes = {name: np.array([code[cell] for cell in known[name]], np.int64) for name in used}
    galleries, mixed = [], {}
    for name in REAL:
        faces, cells = sets.faces[name], None
        persons = context.persons(name)
        if of_persons:
            cells, mixed[name] = person_cells(persons, codes[name][faces.rows])
        pairs = context.comparisons.reaching(sets.synthetic, faces, threshold)
        if pairs is None:
            raise UnsupportedError(f"synthetic and {name} were not compared")
        images = sets.synthetic.rows[np.asarray(pairs.rows)]
        galleries.append(CellGallery(Gallery(persons, images, np.asarray(pairs.columns)), cells))
    resampling = Resampling(
        statistics.confidence,
        statistics.bootstrap,
        statistics.permutations,
        min(statistics.draws, MOST_DRAWS),
        context.config.run.seed,
    )
    both = galleries[0], galleries[1]
    draws = cell_draws(*both, resampling.draws, context.rng(30))
    searched = Searched(context.item_clusters(), codes["synthetic"])
    return _Strata(names, searched, both, draws, mixed, resampling)


# --- rates ----------------------------------------------------------------------------------------


def _against_every_person(found: _Strata, cell: int) -> Excess | str:
    """Return the excess of the items of a cell against all persons, or why there is none."""
    kept = found.searched.cells == cell
    clusters = found.searched.clusters_of(kept)
    few = _too_few(len(np.unique(clusters)))
    if few:
        return few
    sides = found.galleries[0].of_items(kept), found.galleries[1].of_items(kept)
    return cell_excess(sides, clusters, _seeded(found, cell), found.draws)


def _against_own_cell(found: _Strata, cell: int) -> Excess | str:
    """Return the excess of the items of a cell against its persons, or why there is none."""
    if not found.of_persons:
        return "training and holdout have no strata"
    kept = found.searched.cells == cell
    clusters = found.searched.clusters_of(kept)
    few = _too_few(len(np.unique(clusters)), found.persons(cell))
    if few:
        return few
    resampling = _seeded(found, cell)
    one, other = (side.of_items(kept).of_persons(cell) for side in found.galleries)
    rng = np.random.default_rng([resampling.seed, cell])
    draws = cell_draws(one, other, resampling.draws, rng)
    return cell_excess((one, other), clusters, resampling, draws)


def _too_few(clusters: int, persons: tuple[int, int] | None = None) -> str:
    if clusters < FEWEST_CLUSTERS:
        return f"{clusters} synthetic clusters are of this stratum, and {FEWEST_CLUSTERS} are needed"
    for name, count in zip(REAL, persons or (), strict=False):
        if count < FEWEST_PERSONS:
            return f"{count} persons of {name} are of this stratum, and {FEWEST_PERSONS} are needed"
    return ""


def _seeded(found: _Strata, cell: int) -> Resampling:
    """Return the resampling with a seed of the cell's own."""
    seed = np.random.SeedSequence([found.resampling.seed, 1000 + cell]).generate_state(1)[0]
    return replace(found.resampling, seed=int(seed))


def _standardised(
    context: Context, found: _Strata, every: list[Excess | str], same: list[Excess | str]
) -> dict[str, Any]:
    """Return both rates with the weights that are asked for."""
    wanted = check_weights(context.config.analysis.strata_weights)
    weights = _weights(found, wanted)
    if isinstance(weights, str):
        return refused(weights)
    entry: dict[str, Any] = {"weights": wanted if isinstance(wanted, str) else "given"}
    inside = found.galleries
    if found.of_persons:
        one, other = (side.of_same_cell(found.searched.cells) for side in found.galleries)
        inside = one, other
    for title, sides, rates in (("every_person", found.galleries, every), ("same_stratum", inside, same)):
        measured = {
            cell: weights[cell]
            for cell, rate in enumerate(rates)
            if isinstance(rate, Excess) and weights.get(cell)
        }
        if not measured:
            entry[title] = refused("no stratum with a weight could be measured")
            continue
        rate = standardised_excess(sides, found.searched, measured, found.resampling, found.draws)
        entry[title] = _standardised_entry(rate, sum(measured.values()) / sum(weights.values()))
        entry[title]["strata"] = [found.names[cell] for cell in measured]
    return entry


def _weights(found: _Strata, wanted: str | dict[str, float]) -> dict[int, float] | str:
    """Return the weight of each cell by its code, or why there is none."""
    cells = range(len(found.names))
    if isinstance(wanted, dict):
        strange = [name for name in wanted if name not in found.names]
        if strange:
            return f"strata_weights names {strange[0]!r}, and there is no such stratum"
        return {found.names.index(name): weight for name, weight in wanted.items()}
    if wanted == "synthetic":
        return {cell: found.share(cell) for cell in cells}
    if not found.of_persons:
        return f"strata_weights is {wanted!r}, and training and holdout have no strata"
    return {cell: float(found.persons(cell)[REAL.index(wanted)]) for cell in cells}


# --- false matches --------------------------------------------------------------------------------


def _impostors(context: Context, found: _Strata, threshold: float) -> list[CellImpostors] | str:
    """Return the comparisons inside every cell of the holdout, or why there are none."""
    cells = found.galleries[1].cells
    if cells is None:
        return "training and holdout have no strata"
    pairs = context.reaching("holdout", "holdout", threshold)
    if pairs is None:
        return "not all pairs of the holdout that reach the threshold are known"
    persons = context.persons("holdout")
    first, second, images = persons[pairs.rows], persons[pairs.columns], image_counts(persons)
    return [CellImpostors.of(first, second, images, cells == cell) for cell in range(len(found.names))]


def _rate_entries(
    impostors: list[CellImpostors] | str, cells: int, confidence: float
) -> list[dict[str, Any]]:
    """Return the entry of the false match rate of every cell."""
    if isinstance(impostors, str):
        return [refused(impostors)] * cells
    entries = []
    for cell in impostors:
        persons = len(cell.images)
        few = f"{persons} persons of the holdout are of this stratum, and {FEWEST_PERSONS} are needed"
        entries.append(
            refused(few)
            if persons < FEWEST_PERSONS
            else _rate_entry(cell.rate(confidence)) | {"persons": persons}
        )
    return entries


def _false_matches(context: Context, impostors: list[CellImpostors] | str) -> dict[str, Any]:
    entry = {"pooled": _rate_entry(context.points[0].point.fmr)}
    if isinstance(impostors, str):
        return entry | {"same_stratum": refused(impostors)}
    rate = same_cell_rate(
        [cell for cell in impostors if len(cell.images) >= FEWEST_PERSONS], context.confidence
    )
    return entry | {"same_stratum": _rate_entry(rate)}


# --- entries --------------------------------------------------------------------------------------


def _cell_entry(found: _Strata, cell: int) -> dict[str, Any]:
    kept = found.searched.cells == cell
    training, holdout = found.persons(cell)
    return {
        "stratum": found.names[cell],
        "items": int(kept.sum()),
        "clusters": len(np.unique(found.searched.clusters[kept])),
        "share": found.share(cell),
        "persons": {"training": training, "holdout": holdout} if found.of_persons else None,
    }


def _excess_entries(rates: list[Excess | str]) -> list[dict[str, Any]]:
    """Return an entry for each cell, with p-values corrected for the number of cells that were measured."""
    values = [np.nan if isinstance(rate, str) else rate.p_value for rate in rates]
    corrected = holm(values).tolist()
    return [
        refused(rate)
        if isinstance(rate, str)
        else {
            "rate": rate.rate,
            **interval_entry(rate.interval),
            "upper": rate.upper,
            "permutation_p": rate.p_value,
            "permutation_p_corrected": value,
            "leak_rate_training": rate.training.rate,
            "leak_rate_holdout": rate.holdout.rate,
            "clusters": rate.clusters,
            "persons": rate.persons,
            "draws": rate.draws,
        }
        for rate, value in zip(rates, corrected, strict=True)
    ]


def _standardised_entry(rate: Standardised, covered: float) -> dict[str, Any]:
    return {
        "rate": rate.rate,
        **interval_entry(rate.interval),
        "upper": rate.upper,
        "permutation_p": rate.p_value,
        "leak_rate_training": rate.training,
        "leak_rate_holdout": rate.holdout,
        "clusters": rate.clusters,
        "effective_clusters": rate.effective_clusters,
        "draws": rate.draws,
        "covered": covered,
    }


def _rate_entry(rate: ErrorRate | None) -> dict[str, Any]:
    if rate is None:
        return refused("nothing was compared")
    return {
        "rate": rate.rate,
        **interval_entry(rate.interval),
        "errors": rate.errors,
        "trials": rate.trials,
        "flags": rate.flags,
    }
