"""Drawing until everything that is released has passed the screen.

Seeds that are turned down are replaced in rounds: once a round is judged, the pictures that are still missing get the
next seeds of the reserve, in their order. What is drawn is decided by the results alone, not by who draws when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.audit.rates.intervals import wilson
from idsim.audit.summary import percent
from idsim.generators.seeds import LAST_SEED
from idsim.sampling.parts import drawn_pictures, read_part, store_part
from idsim.sampling.screen import FACELESS, REJECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from idsim.generators.base import Generator
    from idsim.generators.seeds import Seeds
    from idsim.generators.series import Networks, Variant
    from idsim.sampling.parts import Part, Plan
    from idsim.sampling.screen import Screen

__all__ = ["Draw", "Screened", "draw_screened", "reserve_of", "screen_part"]

# Default reserve: seeds of any training run and more, while names of files stay as long as those of other runs.
RESERVE = 10_000_000


@dataclass(frozen=True)
class Draw:
    """One seed that was drawn.

    Attributes
    ----------
    asked : int
        The seed whose place it takes; itself at the first attempt.
    attempt : int
        0 for the seed that was asked for, then counted from 1.
    row : dict
        The row of its picture, with ``seed``, ``outcome``, ``released`` and ``score``.
    """

    asked: int
    attempt: int
    row: dict[str, Any]


@dataclass(frozen=True)
class Screened:
    """A set after screening.

    Attributes
    ----------
    variant : Variant
        The set.
    asked : int
        Pictures that were asked for; so many are released.
    parts : list of Part
        All that were drawn, round by round.
    draws : list of Draw
        Every seed, in the same order.
    """

    variant: Variant
    asked: int
    parts: list[Part]
    draws: list[Draw]

    def count(self, outcome: str) -> int:
        """Return how many draws had an outcome."""
        return sum(draw.row["outcome"] == outcome for draw in self.draws)


def reserve_of(networks: Networks, variant: Variant, seeds: Seeds, text: str) -> Sequence[int]:
    """Return the seeds that take the place of others.

    Raises
    ------
    ValueError
        They do not follow the last seed, or the generator refuses them.
    """
    first = seeds[-1] + 1
    if text:
        reserve = networks.seeds(variant, text)
        if reserve[0] < first:
            raise ValueError(
                f"the reserve must begin after the last seed, {seeds[-1]}, and begins with {reserve[0]}"
            )
        return reserve
    generator: Any = networks.get(variant.network)
    most = first + max(RESERVE, 10 * len(seeds))
    stop = len(generator) if hasattr(generator, "__len__") else min(LAST_SEED + 1, most)
    return range(first, max(first, stop))


def screen_part(plan: Plan, part: Part, generator: Generator, screen: Screen) -> None:
    """Draw and judge the pictures of a part, store those that pass, then its record."""
    pictures = list(drawn_pictures(plan, part, generator))
    verdicts = screen.judge(pictures)
    store_part(
        plan,
        part,
        (
            (pixels if verdict.released else None, verdict._asdict())
            for pixels, verdict in zip(pictures, verdicts, strict=True)
        ),
    )


def draw_screened(
    plan: Plan,
    variant: Variant,
    draw: Callable[[int, list[Part]], None],
) -> Screened:
    """Draw a set until every picture has passed.

    Parameters
    ----------
    plan : Plan
        The run, with a screen.
    variant : Variant
        The set.
    draw : callable
        Called with the number of a round and its parts; draws, judges and stores those that are missing.

    Raises
    ------
    ValueError
        So many pictures are turned down that the redraws allowed will not do, or the reserve is used up.
    """
    asked = plan.seeds[variant.network]
    parts = plan.parts(variant)
    result = Screened(variant, len(asked), [], [])
    places: Sequence[int] = asked
    used = 0
    most = plan.screen.config.max_redraws if plan.screen else 0
    for attempt in range(most + 1):
        draw(attempt, parts)
        rows = list(_rows(plan, parts))
        result.parts.extend(parts)
        result.draws.extend(Draw(place, attempt, row) for place, row in zip(places, rows, strict=True))
        places = [place for place, row in zip(places, rows, strict=True) if not row["released"]]
        if not places:
            return result
        _require_hope(result, len(places), most - attempt)
        seeds = list(plan.reserve[variant.network][used : used + len(places)])
        used += len(seeds)
        if len(seeds) < len(places):
            raise ValueError(
                f"{variant.name}: the reserve has no seed left for {len(places) - len(seeds)} pictures that were "
                "turned down: a run with a longer one (--reserve) is needed"
            )
        parts = plan.redraws(variant, attempt + 1, seeds)
    raise AssertionError("the last attempt returns or is refused")


def _rows(plan: Plan, parts: list[Part]) -> Iterator[dict[str, Any]]:
    for part in parts:
        sealed = read_part(plan, part)
        if sealed is None:
            raise ValueError(f"{plan.record(part)} or its pictures changed while the run went on")
        yield from sealed.header["rows"]


def _require_hope(result: Screened, missing: int, left: int) -> None:
    """Refuse to go on where pictures would be missing after all redraws, even if the luck so far was bad.

    With rate q the expected number is ``missing * q ** left``; q is the lower end of Wilson's 95 % interval.
    """
    drawn = len(result.draws)
    refused = sum(not draw.row["released"] for draw in result.draws)
    expected = missing * wilson(refused / drawn, drawn)[0] ** left
    if expected < 1:
        return
    faceless = result.count(FACELESS)
    raise ValueError(
        f"{result.variant.name}: {refused} of {drawn} pictures were turned down ({percent(refused / drawn)}: "
        f"{result.count(REJECTED)} resemble somebody in the gallery, {faceless} have no face), and with {left} more "
        f"redraws each about {expected:.0f} of {result.asked} pictures would be missing at the end. The run is not "
        "finished; what was drawn is kept, and the same command with a larger --max-redraws goes on"
    )
