"""What a screened run leaves beside its pictures: ``screen.json``, and the table of every seed that was drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim.audit.plain_values import plain_values
from idsim.audit.rates.intervals import wilson
from idsim.audit.summary import percent, rounded
from idsim.sampling.screen import ACCEPTED, FACELESS, REJECTED, gallery_entry, matcher_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idsim.audit.thresholds.calibration import ErrorRate
    from idsim.matchers.base import Matcher
    from idsim.sampling.screen import Calibrated, Screen
    from idsim.sampling.screened import Screened

__all__ = ["SCREEN", "SCREENING", "SCREENING_TYPES", "screen_entry", "screen_provenance", "screening_columns"]

SCHEMA_VERSION = 1
SCREEN = "screen.json"
SCREENING = "screening"
SCREENING_TYPES = {"score": "float64"}


def screen_provenance(screen: Screen, calibrated: Calibrated) -> dict[str, Any]:
    """Return what tells a screen from another: matcher and galleries by content, and the threshold."""
    return {
        "matcher": screen.matcher.describe(),
        "gallery": gallery_entry(screen.gallery),
        "calibration": None if calibrated.people is None else gallery_entry(calibrated.people),
        "threshold": screen.threshold,
    }


def screening_columns(sets: Sequence[Screened]) -> dict[str, list[Any]]:
    """Return a row for every seed that was drawn: a working file, which tells who was turned down."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("set", "asked_seed", "attempt", "seed", "outcome", "released", "score")
    }
    for one in sets:
        for draw in one.draws:
            row = draw.row
            values = (
                one.variant.name, draw.asked, draw.attempt, row["seed"], row["outcome"], row["released"], row["score"],
            )  # fmt: skip
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    return columns


def screen_entry(screen: Screen, calibrated: Calibrated, sets: Sequence[Screened]) -> dict[str, Any]:
    """Return the content of ``screen.json``: plain JSON values, and no seed that was turned down."""
    matcher, point = screen.matcher, calibrated.point
    content = {
        "schema_version": SCHEMA_VERSION,
        "matcher": _matcher_entry(matcher),
        "gallery": gallery_entry(screen.gallery),
        "calibration": None
        if calibrated.people is None
        else gallery_entry(calibrated.people) | {"persons_left_out": calibrated.shared},
        "operating_point": {
            "target": point.target.name,
            "threshold": screen.threshold,
            "fpir": _error_rate(point.fpir),
            "persons_searched": point.gallery_persons,
        },
        "no_face": screen.config.no_face,
        "sets": [_set_entry(one) for one in sets],
        "limits": _limits(screen, calibrated),
    }
    return {name: rounded(value) for name, value in content.items()}


def _matcher_entry(matcher: Matcher) -> dict[str, Any]:
    described = matcher.describe()
    known = {name: described.get(name) for name in ("name", "metric", "dim", "licence")}
    return known | {"sha256": matcher_sha256(matcher)}


def _error_rate(rate: ErrorRate | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    found: dict[str, Any] = plain_values(rate)
    return found | {"flags": rate.flags}


def _set_entry(one: Screened) -> dict[str, Any]:
    rejected, faces = one.count(REJECTED), one.count(REJECTED) + one.count(ACCEPTED)
    low, high = wilson(rejected / faces, faces) if faces else (0.0, 1.0)
    return {
        "name": one.variant.name,
        "asked": one.asked,
        "drawn": len(one.draws),
        "released": sum(draw.row["released"] for draw in one.draws),
        "rejected": rejected,
        "no_face": one.count(FACELESS),
        "most_attempts": max(draw.attempt for draw in one.draws) + 1,
        "rejection_rate": {
            "rate": rejected / faces if faces else None,
            "low": low,
            "high": high,
            "method": "Wilson over the pictures with a face, 95 %",
            "pictures": faces,
        },
    }


def _limits(screen: Screen, calibrated: Calibrated) -> list[str]:
    """Return in sentences what the screen cannot promise."""
    name, rate = screen.matcher.name, calibrated.point.fpir
    known = (
        f"At the threshold {screen.threshold:.6g} nothing is known of its errors: it was given, without people to "
        "measure them on."
        if rate is None
        else f"At the threshold {screen.threshold:.6g}, {percent(rate.rate)} of searches for people who are not in the "
        f"gallery return a match ({rate.errors} of {rate.trials}; interval {percent(rate.interval.low)} to "
        f"{percent(rate.interval.high)}): about so many pictures of nobody are turned down with the others."
    )
    kept = (
        "Pictures without a face were kept: nothing is known of them."
        if screen.config.no_face == "keep"
        else "Pictures in which the matcher finds no face were turned down, too."
    )
    return [
        (
            f"No released picture whose face was found reaches anybody in the gallery at this threshold for {name}. "
            "Another matcher, or a looser threshold, may still find somebody."
        ),
        known,
        kept,
        (
            f"The {len(screen.gallery.names)} people of the gallery were searched for and nobody else: people whose "
            "pictures are not in it, or had no face there, are not protected."
        ),
        (
            "A look-alike of somebody in the gallery is turned down like a copy, and a copy that the matcher does not "
            "recognise passes like a stranger."
        ),
        (
            f"By {name} the released pictures show no leak, whatever the generator does: their excess leak rate must "
            "be measured with another matcher, against a holdout that was no calibration."
        ),
        (
            "A picture that was turned down says that somebody in the gallery looks like it. The seeds that are "
            "missing among the released ones tell which these were, to whoever has the generator: publish neither the "
            "seeds nor the tables images and screening, and number the pictures anew."
        ),
    ]
