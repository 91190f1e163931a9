"""A world of drawn people whose truth is known: who is in which set, and in which picture."""

from __future__ import annotations

from idsim.demo_world.folders import draw
from idsim.demo_world.people import Person, person
from idsim.demo_world.portraits import portrait

__all__ = ["Person", "draw", "person", "portrait"]
