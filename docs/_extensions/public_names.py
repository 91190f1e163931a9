"""A warning for every public name without an entry, and for every command without a section."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util import logging

from idsim.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

LOGGER = logging.getLogger(__name__)


def missing_names(modules: list[str], described: set[str]) -> Iterator[str]:
    """Return the names in `__all__` of some modules that nothing describes, as they would be written."""
    public = {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in map(importlib.import_module, modules)
        for name in module.__all__
    }
    found = [value for name, value in public.items() if name in described]
    for name, value in public.items():
        if not any(value is one for one in found):  # an object has one entry, under one of its names
            yield name


def missing_commands(anchors: set[str]) -> Iterator[str]:
    """Return the commands that have no section."""
    for name in main.COMMANDS | main.SECOND:
        inner = getattr(main.load(name), "commands", {})
        for command in (name, *(f"{name} {each}" for each in inner)):
            if nodes.make_id(f"idsim-{command}") not in anchors:
                yield command


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    described = {entry[0] for entry in env.domains["py"].get_objects()}
    for name in missing_names(app.config.documented_modules, described):
        LOGGER.warning("%s is public and has no entry in the API reference", name)
    anchors = {anchor for page in env.found_docs for anchor in _anchors(env, page)}
    for command in missing_commands(anchors):
        LOGGER.warning("the command %r has no section on any page", f"idsim {command}")


def _anchors(env: BuildEnvironment, page: str) -> Iterator[str]:
    for section in env.get_doctree(page).findall(nodes.section):
        yield from section["ids"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_config_value("documented_modules", [], "env")
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
