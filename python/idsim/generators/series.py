"""One run, many sets: checkpoints, truncations, classes, ranges of seeds; every combination is a set of its own."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from itertools import product
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from idsim.generators.registry import open_generator
from idsim.generators.seeds import Seeds, parse_seeds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from idsim.generators.base import Generator

__all__ = ["Networks", "Variant", "make_series"]

# A longer list of seeds is in the name of a set with its first, its last and a hash.
LONGEST_SEEDS = 48


@dataclass(frozen=True)
class Variant:
    """One set of a series.

    Attributes
    ----------
    name : str
        Folder name, unique in the series: ``network-snapshot-000140-psi0.7``.
    network : str
        Spec of the generator, as given.
    psi : float or None
        Truncation; None: the generator's own.
    label : int or None
        Class of a conditional generator.
    seeds : str
        Of the set, as `parse_seeds` takes them; empty: those of the run.
    """

    name: str
    network: str
    psi: float | None
    label: int | None
    seeds: str = ""


def make_series(
    networks: Sequence[str], psi: Sequence[float], labels: Sequence[int], seeds: Sequence[str] = ()
) -> list[Variant]:
    """Return every combination of networks, truncations, classes and ranges of seeds, networks outermost.

    Parameters
    ----------
    networks : sequence of str
        Specs of generators.
    psi : sequence of float
        Truncations; empty: the generator's own.
    labels : sequence of int
        Classes; empty: none.
    seeds : sequence of str
        Ranges of seeds, as `parse_seeds` takes them. Of several, each makes a set of its own and is in its name; a
        single one belongs to every set, and none leaves the seeds to the run.

    Raises
    ------
    ValueError
        There is no network, one value is there twice, a psi is not finite, a class is negative, or a range is none.
    """
    if not networks:
        raise ValueError("at least one generator is needed")
    for title, values in (("generator", networks), ("psi", psi), ("label", labels)):
        repeated = [value for number, value in enumerate(values) if value in values[:number]]
        if repeated:
            raise ValueError(f"{title} {repeated[0]} is named twice")
    for value in psi:
        if not math.isfinite(value):
            raise ValueError(f"psi must be a finite number, not {value}")
    for label in labels:
        if label < 0:
            raise ValueError(f"label must be at least 0, not {label}")
    ranges = seeds if len(seeds) < 2 else [str(parse_seeds(text)) for text in seeds]
    for number, text in enumerate(ranges):
        if text in ranges[:number]:
            raise ValueError(f"the seeds {seeds[number]} are named twice")
    stems = _stems(networks)
    truncations: Sequence[float | None] = psi or [None]
    classes: Sequence[int | None] = labels or [None]
    return [
        Variant(
            _name(stems[network], value, label) + (_seeds_suffix(text) if len(ranges) > 1 else ""),
            network,
            value,
            label,
            text,
        )
        for network, value, label, text in product(networks, truncations, classes, ranges or [""])
    ]


def _name(stem: str, psi: float | None, label: int | None) -> str:
    truncation = "" if psi is None else f"-psi{psi:g}" if float(f"{psi:g}") == psi else f"-psi{psi!r}"
    return stem + truncation + ("" if label is None else f"-label{label}")


def _seeds_suffix(text: str) -> str:
    plain = text.replace(",", "_")
    if len(plain) > LONGEST_SEEDS:
        numbers = re.split("[-,]", text)
        plain = f"{numbers[0]}-{numbers[-1]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return f"-seeds{plain}"


def _stems(networks: Sequence[str]) -> dict[str, str]:
    """Return a folder name for every spec: the last part of its path, numbered where two are the same."""
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for network in networks:
        last = re.sub(r"\.(pkl|pt|pth|bin|safetensors|zip)$|\.py(?=:)", "", PurePath(network).name)
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip(".-")[:80] or "generator"
        stem, number = plain, 2
        while stem.lower() in taken:
            stem, number = f"{plain}-{number}", number + 1
        taken.add(stem.lower())
        stems[network] = stem
    return stems


class Networks:
    """The generators of a series, opened one at a time: only the last one that was asked for is kept.

    Parameters
    ----------
    base : Path
        Where relative paths start from.
    **options
        Of `open_generator`.
    """

    def __init__(self, base: Path, **options: Any) -> None:
        self._base = base
        self._options = options
        self._open: tuple[str, Generator] | None = None
        self._described: dict[str, dict[str, Any]] = {}

    def get(self, spec: str) -> Generator:
        """Return a generator.

        Raises
        ------
        ValueError
            It is none, or is not what it was when it was opened first.
        """
        if self._open is None or self._open[0] != spec:
            self._open = None
            generator = open_generator(spec, base=self._base, **self._options)
            description = generator.describe()
            if self._described.setdefault(spec, description) != description:
                raise ValueError(f"{spec} changed while the run went on")
            self._open = spec, generator
        return self._open[1]

    def describe(self, spec: str) -> dict[str, Any]:
        """Return the description of a generator."""
        if spec not in self._described:
            self.get(spec)
        return self._described[spec]

    def seeds(self, variant: Variant, text: str) -> Seeds:
        """Return the seeds of a set, after its generator has accepted the first and the last of them.

        Parameters
        ----------
        variant : Variant
            The set.
        text : str
            As `parse_seeds` takes it; empty: every picture of a generator over stored pictures.

        Raises
        ------
        ValueError
            The generator needs seeds, or refuses a seed, the psi or the class.
        """
        generator: Any = self.get(variant.network)
        if text:
            seeds = parse_seeds(text)
        elif hasattr(generator, "__len__"):
            seeds = Seeds([range(len(generator))])
        else:
            raise ValueError(f"{variant.network} needs seeds, like 0-9999")
        generator.sample([seeds[0], seeds[-1]], psi=variant.psi, label=variant.label)
        return seeds
