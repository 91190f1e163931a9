"""A synthetic set that is drawn while the scan runs: pictures go from the generator to the matcher, not to disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from idsim.generators.base import checked
from idsim.generators.series import Networks
from idsim.images import Picture
from idsim.sources.decoding import Content

if TYPE_CHECKING:
    from collections.abc import Iterator

    from idsim.audit.configuration.config import ScanConfig
    from idsim.generators.seeds import Seeds
    from idsim.generators.series import Variant

__all__ = ["DrawnInput", "open_drawn"]


@dataclass(frozen=True)
class DrawnInput:
    """The pictures of one set of a series.

    Attributes
    ----------
    variant : Variant
        Generator, psi, class and seeds.
    seeds : Seeds
        One picture each.
    networks : Networks
        Opens the generator when pictures are asked for.
    """

    variant: Variant
    seeds: Seeds
    networks: Networks
    name: str = "synthetic"

    @cached_property
    def items(self) -> list[str]:
        """Names of the pictures."""
        return [f"seed{seed:08d}" for seed in self.seeds]

    @property
    def labels(self) -> list[str]:
        """Every seed is a cluster of its own."""
        return self.items

    @property
    def origin(self) -> dict[str, Any]:
        """Return what drew the set."""
        variant = self.variant
        return {
            "network": variant.network,
            "sha256": self.networks.describe(variant.network)["sha256"],
            "psi": variant.psi,
            "class": variant.label,
            "seeds": str(self.seeds),
        }

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells this input from another."""
        return {"images": len(self.seeds), "generator": self.networks.describe(self.variant.network)}

    def key(self, description: str, start: int, stop: int) -> str:
        """Return the hash of a range of pictures and of what represents them."""
        variant = self.variant
        drawn = [self.networks.describe(variant.network), variant.psi, variant.label, self.seeds[start:stop]]
        return hashlib.sha256(json.dumps([description, drawn]).encode()).hexdigest()

    def pictures(self, start: int, stop: int) -> Iterator[Content]:
        """Draw a range of pictures."""
        variant = self.variant
        pictures = self.networks.get(variant.network).sample(
            self.seeds[start:stop], psi=variant.psi, label=variant.label
        )
        for pixels in checked(variant.network, pictures, stop - start):
            yield Content(hashlib.sha256(pixels.data).hexdigest(), Picture(pixels, ""))


def open_drawn(config: ScanConfig) -> dict[str, DrawnInput]:
    """Return the sets of ``[synthetic]`` by name, after their generators have accepted what is asked for.

    Raises
    ------
    ValueError
        A generator cannot be opened, or refuses a seed, a psi or a class.
    CheckpointError, OSError
        A file cannot be used.
    """
    part = config.synthetic
    networks = Networks(config.base, device=part.device or None, noise=part.noise or None)
    return {
        variant.name: DrawnInput(variant, networks.seeds(variant, variant.seeds), networks)
        for variant in part.series()
    }
