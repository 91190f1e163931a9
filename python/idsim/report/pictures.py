"""The nearest pairs of a run and the people around whom they gather, as blocks of a page with their pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from idsim.report.blocks import Cell, Face, GroupEntry, Groups, PairRow, Pairs, Paragraph, Section
from idsim.report.nearest import Nearest
from idsim.report.text import rate, shortened
from idsim.report.thumbnails import BLURRED_SIDE, thumbnails

if TYPE_CHECKING:
    from collections.abc import Callable

    from idsim.report.blocks import Block
    from idsim.report.data import RunResults
    from idsim.report.nearest import Item, Pair
    from idsim.report.thumbnails import Thumbnail, Told

    _Shown = Callable[[Item], Face]

__all__ = ["Gallery", "pair_sections"]

MOST_GROUPS = 24
MOST_MEMBERS = 12  # pictures beside a person

KINDS = {
    "synthetic": "Synthetic image",
    "training": "Image of the training set",
    "holdout": "Image of the holdout",
}

LEADS = {
    "none": "No pictures: the page was made without faces.",
    "blur": (
        f"Pictures are reduced to {BLURRED_SIDE} by {BLURRED_SIDE} pixels: hints of hair, skin and background, from "
        "which nobody is recognised. There is nothing to make sharp in this file."
    ),
    "show": (
        "This file holds recognisable faces, blurred until they are asked for. Whoever passes it on passes on personal "
        "data."
    ),
}


class Gallery(NamedTuple):
    """The sections of pairs, and the pictures that they show by id."""

    sections: list[Section]
    pictures: dict[str, Thumbnail]


def pair_sections(
    run: RunResults,
    faces: str,
    names: bool,
    most: int,
    run_code: bool = False,
    progress: Told | None = None,
) -> Gallery:
    """Return the nearest pairs of a run, at most `most`, and the people whom several images reach."""
    tables = Nearest(run)
    pairs = tables.pairs(most)
    groups = tables.groups(MOST_GROUPS) if most else []
    wanted = [
        item for pair in pairs for item in (pair.synthetic, pair.training, pair.holdout) if item is not None
    ]
    for group in groups:
        wanted += [group.image, *list(group.members)[:MOST_MEMBERS]]
    made = thumbnails(run, wanted, faces, run_code, progress)
    places = {item: f"p{number}" for number, item in enumerate(made.pictures)}
    least = 1 / max(1, run.matchers[0].summary["calibration"]["images"])

    def face(item: Item) -> Face:
        label = shortened(item.name) if names else item.pseudonym
        return Face(label, places.get(item, ""), f"{KINDS[item.kind]} {label}")

    blocks: list[Block] = [Paragraph(LEADS[faces])]
    if made.reasons:
        why = "; ".join(f"{KINDS[kind].lower()}: {reason}" for kind, reason in made.reasons.items())
        blocks.append(Paragraph(f"Some pictures are missing. {why[:1].upper()}{why[1:]}."))
    if groups:
        entries = [
            GroupEntry(
                person=shortened(group.person_name) if names else group.person,
                training=face(group.image),
                images=len(group.members),
                clusters=len(group.clusters),
                members=[
                    (face(item), ", ".join(found) if len(run.matchers) > 1 else "")
                    for item, found in list(group.members.items())[:MOST_MEMBERS]
                ],
                more=max(0, len(group.members) - MOST_MEMBERS),
            )
            for group in groups
        ]
        blocks.append(Groups("People of the training set whom several synthetic clusters reach", entries))
    if pairs:
        blocks.append(
            Pairs(
                title=f"The {len(pairs)} nearest pairs",
                matchers=[matcher.name for matcher in run.matchers],
                unit="distance" if run.matchers[0].summary["matcher"]["metric"] == "l2" else "score",
                rows=[_row(run, number, pair, face, names, least) for number, pair in enumerate(pairs, 1)],
                series=any(matcher.is_series for matcher in run.matchers),
            )
        )
    lead = (
        "Synthetic images beside the training image that is nearest to them and, for comparison, the nearest image of "
        "the holdout, which the generator never saw. FPIR at the score: the share of searches by people of the holdout "
        "that find somebody at least as near."
    )
    return Gallery(
        [Section("pairs", "Nearest pairs", lead, blocks)] if pairs else [],
        {places[item]: picture for item, picture in made.pictures.items()},
    )


def _row(run: RunResults, number: int, pair: Pair, face: _Shown, names: bool, least: float) -> PairRow:
    scores = []
    for matcher in run.matchers:
        score = pair.scores.get(matcher.name)
        tone = "excess" if score is not None and score.reaches else ""
        scores.append(
            Cell("–", tone="quiet")
            if score is None
            else Cell(f"{score.value:.4f}", score.value, "reaches" if score.reaches else "", tone)
        )
    shares = [score.share for score in pair.scores.values() if score.share is not None]
    share = min(shares, default=None)
    return PairRow(
        rank=number,
        synthetic=face(pair.synthetic),
        training=face(pair.training),
        holdout=None if pair.holdout is None else face(pair.holdout),
        person=shortened(pair.person_name) if names else pair.person,
        variant=pair.synthetic.variant,
        scores=scores,
        holdout_score=Cell("–", tone="quiet")
        if pair.holdout_score is None
        else Cell(f"{pair.holdout_score:.4f}", pair.holdout_score),
        share=Cell("–", tone="quiet")
        if share is None
        else Cell(rate(share) if share else f"< {rate(least)}", share),
        found=[
            place
            for place, matcher in enumerate(run.matchers)
            if (score := pair.scores.get(matcher.name)) is not None and score.reaches
        ],
    )
