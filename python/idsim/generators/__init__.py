"""Generators of pictures: what draws the images that an audit asks about."""

from idsim.generators.base import Generator, Pictures
from idsim.generators.registry import known_generators, open_generator

__all__ = ["Generator", "Pictures", "known_generators", "open_generator"]
