"""``[scores]``: the scores of a matcher that gives no vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from idsim.audit.scores.score_tables import COMPLETE, SCALES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ScoresConfig"]

# Key -> probes and gallery.
FILES = {
    "training": ("synthetic", "training"),
    "holdout": ("synthetic", "holdout"),
    "calibration": ("holdout", "holdout"),
    "cross": ("holdout", "training"),
}


@dataclass(frozen=True)
class ScoresConfig:
    """``[scores]``: files of scores and what they mean.

    Attributes
    ----------
    training, holdout : str
        Scores of the synthetic set against either real set.
    calibration : str
        Scores of the holdout against itself; empty: thresholds are declared, not calibrated.
    cross : str
        Scores of the holdout against the training set, for searches through it and for the check of shared persons.
    score_scale : str
        ``cosine``, ``distance``, ``-log10far``, ``-12log10far`` (MegaMatcher); empty: not stated.
    higher_is_better : bool
        Whether higher scores mean more alike.
    complete : {"true", "topk", "thresholded"}
        Whether the files list every pair, each probe's best ones, or all that reach `floor`.
    floor : float
        Of ``thresholded``: every score at least (lower is better: at most) this is listed.
    """

    training: str = ""
    holdout: str = ""
    calibration: str = ""
    cross: str = ""
    score_scale: str = ""
    higher_is_better: bool = True
    complete: str = "true"
    floor: float | None = None

    def given(self) -> dict[str, tuple[str, str]]:
        """Return the sets that are compared by each file that is given."""
        return {key: sets for key, sets in FILES.items() if getattr(self, key)}

    def check(self, against: str, refuse: Callable[[str], None]) -> None:
        """Refuse values that do not fit together."""
        for key in ("training", "holdout"):
            if not getattr(self, key):
                refuse(f"[scores] {key} must name the scores of synthetic x {key}")
        if self.score_scale not in SCALES:
            refuse(
                f"[scores] score_scale must be one of {', '.join(filter(None, SCALES))}, not {self.score_scale!r}"
            )
        if self.score_scale and self.higher_is_better == (self.score_scale == "distance"):
            refuse(f"[scores] higher_is_better does not fit the score_scale {self.score_scale!r}")
        if self.complete not in COMPLETE:
            refuse(f"[scores] complete must be one of {', '.join(COMPLETE)}, not {self.complete!r}")
        if (self.floor is not None) != (self.complete == "thresholded"):
            refuse("[scores] floor belongs to complete = 'thresholded', which needs it")
        if against == "training" and self.calibration and not self.cross:
            refuse(
                "[calibration] against = 'training' needs [scores] cross, the scores of holdout x training"
            )
