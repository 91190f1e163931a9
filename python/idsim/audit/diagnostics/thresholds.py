"""Whether a threshold can carry a statement: refused, extrapolated, on too few errors; the size of the holdout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from idsim.audit.diagnostics.findings import Finding
from idsim.audit.rates.intervals import rule_of_three
from idsim.audit.thresholds.calibration import FEW_ERRORS, LEAST_ERRORS

if TYPE_CHECKING:
    from idsim.audit.thresholds.calibration import OperatingPoint

__all__ = ["holdout_finding", "threshold_findings"]

# Decades below the smallest rate that was measured, up to which an extrapolation is usual (docs/leakage.md).
MOST_DECADES = 2.0


def threshold_findings(
    point: OperatingPoint, primary: bool, extrapolated_decades: float | None = None
) -> list[Finding]:
    """Return what is to say about one operating point; nothing where it stands on enough errors.

    Parameters
    ----------
    point : OperatingPoint
        As it was calibrated.
    primary : bool
        Whether it decides: what is a warning there is said in passing elsewhere.
    extrapolated_decades : float, optional
        How many powers of ten its rate lies below the smallest one that was measured; None where it was measured.
    """
    name = point.target.name
    numbers = {"operating_point": name, "primary": primary}
    if point.threshold is None:
        sentence = f"There is no threshold for {name}: {point.refusal}"
        sentence += "; the scan has no verdict." if primary else "."
        return [Finding("threshold refused", "error" if primary else "info", sentence, numbers)]
    found = []
    if extrapolated_decades is not None:
        beyond = extrapolated_decades > MOST_DECADES
        sentence = (
            f"The threshold of {name} is extrapolated {extrapolated_decades:.1f} powers of ten below what the "
            "calibration set can measure"
        )
        sentence += (
            ": nothing supports it." if beyond else "; it rests on a model of the tail, not on counts."
        )
        found.append(
            Finding(
                "threshold extrapolated",
                "error" if beyond and primary else "warning",
                sentence,
                numbers | {"decades": extrapolated_decades},
            )
        )
    if point.fmr is None and point.fpir is None:
        sentence = (
            f"No error rate was measured at {name}: nothing says how often strangers reach its threshold."
        )
        return [*found, Finding("few errors", "warning" if primary else "info", sentence, numbers)]
    kind = "fmr" if point.target.kind == "fmr" or point.fpir is None else "fpir"
    rate = point.fmr if kind == "fmr" else point.fpir
    if rate is not None and rate.errors < FEW_ERRORS and extrapolated_decades is None:
        sentence = (
            f"The {kind.upper()} at {name} rests on {rate.errors} errors among {rate.trials}; fewer than "
            f"{FEW_ERRORS} leave it uncertain by more than 30 %"
        )
        few = rate.errors < LEAST_ERRORS
        sentence += ", and so few say hardly more than an upper bound." if few else "."
        counts = {"rate": kind, "errors": rate.errors, "trials": rate.trials}
        found.append(Finding("few errors", "warning" if primary else "info", sentence, numbers | counts))
    return found


def holdout_finding(
    persons: int, images: int, synthetic: int, fpir: float | None = None, false_discoveries: float = 0.05
) -> Finding:
    """Return what a holdout of this size can support.

    Per-image p-values from n calibration searches are at least 1 / (n + 1). Benjamini and Hochberg's procedure over m
    images rejects any only if r of them have p at most r x level / m, so at least ``m / ((n + 1) level)`` images must
    beat every calibration search before a single one is called.

    Parameters
    ----------
    persons, images : int
        Of the holdout, with a face.
    synthetic : int
        Synthetic images, or clusters, that are tested one by one.
    fpir : float, optional
        Target of the primary operating point.
    false_discoveries : float
        Level of the procedure.
    """
    least = rule_of_three(persons)
    together = math.ceil(synthetic / ((images + 1) * false_discoveries))
    numbers = {
        "persons": persons,
        "images": images,
        "synthetic": synthetic,
        "least_fpir": least,
        "least_p": 1 / (images + 1),
        "together": together,
        "false_discoveries": false_discoveries,
    }
    sentence = (
        f"The holdout of {persons} people supports no false positive rate below {least:.2g}, and no single synthetic "
        f"image can be called a match: at least {together} of {synthetic} would have to score above everybody in the "
        f"holdout (false discovery rate {false_discoveries:g})"
        if together > 1
        else f"The holdout of {persons} people supports false positive rates down to {least:.2g}, and single synthetic "
        "images can be called matches"
    )
    if fpir is not None and fpir * persons < FEW_ERRORS:
        sentence += (
            f"; an FPIR of {fpir:g} with {FEW_ERRORS} errors takes {math.ceil(FEW_ERRORS / fpir)} people"
        )
        return Finding("holdout size", "warning", sentence + ".", numbers)
    return Finding("holdout size", "warning" if together > 1 else "info", sentence + ".", numbers)
