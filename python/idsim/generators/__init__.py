"""Generators of pictures: what draws the images that an audit asks about."""

from idsim.generators.base import Generator, Pictures

__all__ = ["Generator", "Pictures"]
