"""Traps that the numbers cannot show: what was trained on what, mirrored pictures, truncation, choice of the sample."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from idsim.audit.diagnostics.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ffhq_finding",
    "matcher_training_finding",
    "mirror_finding",
    "psi_finding",
    "sampling_finding",
]

# FFHQ's own split (README of NVlabs/ffhq-dataset).
FFHQ_VALIDATION = range(60_000, 70_000)
FFHQ_IMAGES = 70_000
MOSTLY = 0.9  # of the items that have a number

LOW_PSI = 0.7
# With n clusters and no hit the upper bound is about 3 / n: 1 % from here on.
FEW_CLUSTERS = 300
LARGE_CLUSTER = 0.10


def ffhq_finding(
    holdout: str,
    items: Sequence[str],
    generator: Sequence[str],
    training_images: int | None = None,
    split: str = "",
) -> Finding | None:
    """Return a warning where the holdout is FFHQ's validation part and the generator saw all of FFHQ.

    Parameters
    ----------
    holdout : str
        Where the holdout comes from: path and kind.
    items : sequence of str
        Names of its items; FFHQ's are called by their numbers.
    generator : sequence of str
        Names of the generator, and what is known of its training, in any words.
    training_images : int, optional
        Pictures that it was trained on, where that is known.
    split : str
        ``validation`` where that part of FFHQ was asked for.

    Returns
    -------
    Finding or None
        None where the holdout is something else, or the generator is none of FFHQ.
    """
    numbers = [int(stem) for stem in (PurePath(item).stem for item in items) if re.fullmatch(r"\d{5}", stem)]
    inside = sum(number in FFHQ_VALIDATION for number in numbers)
    numbered = bool(numbers) and len(numbers) >= MOSTLY * len(items) and inside >= MOSTLY * len(numbers)
    text = holdout.lower()
    named = "ffhq" in text and (
        split == "validation" or re.search(r"(?<![a-z])val(idation)?(?![a-z])", text) is not None
    )
    if not (named or numbered):
        return None
    known = " ".join(generator).lower()
    if "ffhq" not in known:
        return None
    # Sweeps over the size of the training set carry it in their name: ffhq10k-paper256-ada.pkl.
    part = re.search(r"ffhq-?(\d+)k(?!\d)", known)
    seen = training_images or (int(part.group(1)) * 1000 if part else None)
    if seen is not None and seen < FFHQ_IMAGES:
        return None
    sentence = (
        "The holdout is FFHQ's validation part (pictures 60000 to 69999), and the generator is one of FFHQ. The "
        'published StyleGAN networks were trained on it: "In the StyleGAN paper, however, we used all 70,000 images '
        'for training" (README of NVlabs/ffhq-dataset), and StyleGAN2 trains on the whole data set too. Such a '
        "holdout was trained on, and the excess leak rate is meaningless: use a network trained on a part of FFHQ, "
        "or other people."
    )
    facts = {"numbered_in_validation": inside, "items": len(items), "training_images": training_images}
    return Finding("holdout was trained on", "warning", sentence, facts)


def matcher_training_finding(
    overlap: Literal["yes", "no", "unknown"], matcher: str, evidence: str = ""
) -> Finding:
    """Return what it means whether the matcher was trained on the training set.

    Parameters
    ----------
    overlap : {"yes", "no", "unknown"}
        As it is declared.
    matcher : str
        Its name.
    evidence : str
        What the declaration rests on.

    Raises
    ------
    ValueError
        `overlap` is something else.
    """
    if overlap not in ("yes", "no", "unknown"):
        raise ValueError(f"overlap must be yes, no or unknown, not {overlap!r}")
    numbers = {"matcher": matcher, "overlap": overlap, "evidence": evidence}
    check = "matcher trained on the training set"
    if overlap == "no":
        return Finding(check, "info", f"{matcher} was not trained on the training set, as declared.", numbers)
    if overlap == "yes":
        sentence = (
            f"{matcher} was trained on pictures of the training set: it knows its people better than those of the "
            "holdout, which changes the rates against either set without any leak. Compare with a matcher trained on "
            "others, or add a probe set of people in neither set."
        )
        return Finding(check, "warning", sentence, numbers)
    sentence = (
        f"It is not known whether {matcher} was trained on pictures of the training set. If it was, it knows its "
        "people better than those of the holdout, and the excess means something else: declare what it was trained "
        "on."
    )
    return Finding(check, "warning", sentence, numbers)


def mirror_finding(trained_mirrored: bool | None, searched_mirrored: bool) -> Finding | None:
    """Return a warning where the generator saw mirrored pictures and the gallery was searched without them.

    Parameters
    ----------
    trained_mirrored : bool or None
        Whether the training mirrored its pictures (x-flip augmentation); None where that is not known.
    searched_mirrored : bool
        Whether mirrored copies were searched, or the matcher gives the same descriptor for them.
    """
    if searched_mirrored or trained_mirrored is None or not trained_mirrored:
        return None
    sentence = (
        "The generator was trained with mirrored pictures, and the galleries were searched as they are: a copy of a "
        "mirrored picture may be missed. Search mirrored copies too, or make the matcher blind to mirroring."
    )
    numbers = {"trained_mirrored": trained_mirrored, "searched_mirrored": searched_mirrored}
    return Finding("mirrored pictures", "warning", sentence, numbers)


def psi_finding(psi: Sequence[float], limit: float = LOW_PSI) -> Finding | None:
    """Return a warning where pictures were drawn with a low truncation.

    Parameters
    ----------
    psi : sequence of float
        Of the sets.
    limit : float
        Magnitudes below it are low.
    """
    low = sorted({value for value in psi if abs(value) < limit})
    if not low:
        return None
    sentence = (
        f"Pictures were drawn with psi {', '.join(f'{value:g}' for value in low)}: they lie near the average face and "
        "show few of the people whom the generator can draw. A leak may be missed; scan psi 1 as well."
    )
    return Finding("low psi", "warning", sentence, {"psi": low, "limit": limit})


def sampling_finding(
    items: int,
    clusters: int,
    largest_cluster: int,
    selection: Literal["random", "first", "unknown"] = "unknown",
) -> Finding:
    """Return how far the synthetic set stands for everything that the generator draws.

    Parameters
    ----------
    items, clusters, largest_cluster : int
        Synthetic images, clusters, and images of the largest one.
    selection : {"random", "first", "unknown"}
        How the images were taken from all there are; seeds of a generator are random.
    """
    numbers = {
        "items": items,
        "clusters": clusters,
        "largest_cluster": largest_cluster,
        "selection": selection,
        "upper_without_hits": min(1.0, 3 / clusters) if clusters else 1.0,
    }
    problems = []
    if clusters < FEW_CLUSTERS:
        problems.append(
            f"they make only {clusters} independent identities or seeds, which cannot show a leak rate below "
            f"{300 / clusters:.2g} %"
            if clusters
            else "there are none"
        )
    if items and clusters > 1 and largest_cluster >= LARGE_CLUSTER * items and largest_cluster > 1:
        problems.append(f"{largest_cluster} of them are of one cluster")
    if selection == "first":
        problems.append("they are the first of a longer list and no random sample of it")
    if not problems:
        sentence = f"The synthetic set has {items} images of {clusters} identities or seeds."
        return Finding("sampling", "info", sentence, numbers)
    sentence = f"The synthetic set has {items} images, but {'; '.join(problems)}."
    return Finding("sampling", "warning", sentence, numbers)
