"""Face matchers: what turns a picture into an embedding, each with its metric, its files and its licence."""

from __future__ import annotations

from idsim.matchers.base import Matcher, Representation

__all__ = ["Matcher", "Representation"]
