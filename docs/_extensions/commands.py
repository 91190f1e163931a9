"""The directive `commands`: all commands of the program, from the objects that `--help` is made of."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

from idsim.cli import main
from idsim.cli.help import AUDIT, COMMAND_PANELS, EXAMPLES, option_panel, paragraphs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx


OPTION = re.compile(r"(?<!\S)(--?[a-z][\w-]*)")


class Commands(Directive):
    """A section for each panel of `idsim --help`, with a section for each of its commands."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        return list(panels())


def panels() -> Iterator[nodes.section]:
    """Return the sections of all commands; commands of two words follow the one of their first word."""
    names = [name for first in main.COMMANDS for name in (first, *_second(first))]
    for panel in dict.fromkeys([AUDIT, *COMMAND_PANELS.values()]):
        section = _section(panel, panel)
        for name in names:
            if COMMAND_PANELS.get(name.split()[0], AUDIT) == panel:
                section.extend(_with_subcommands(name, main.load(name)))
        yield section


def _second(first: str) -> list[str]:
    return [name for name in main.SECOND if name.split()[0] == first]


def _with_subcommands(name: str, command: Any) -> Iterator[nodes.section]:
    yield describe(name, command)
    for each, subcommand in getattr(command, "commands", {}).items():
        yield describe(f"{name} {each}", subcommand)


def describe(name: str, command: Any) -> nodes.section:
    """Return the section of a command: what it does, how it is called, examples, arguments, options."""
    section = _section(f"idsim {name}", f"idsim-{name}")
    context = command.make_context(f"idsim {name}", [], resilient_parsing=True)
    summary, *rest = paragraphs(command.help)
    section += _prose(summary)
    section += _code(f"idsim {name} {' '.join(command.collect_usage_pieces(context))}", "text")
    section += [_prose(each) for each in rest]
    lines = [f"{line}\n    # {what}" for line, what in EXAMPLES[name]]
    section += _code("\n".join(lines), "sh")
    parameters = [each for each in command.params if not getattr(each, "hidden", False)]
    groups: dict[str, list[Any]] = {"Arguments": [], "Options": []}
    for each in parameters:
        groups.setdefault(_group(name, each), []).append(each)
    for title, members in groups.items():
        if not members:
            continue
        section += nodes.rubric(text=title)
        section += nodes.definition_list("", *(_parameter(each, context) for each in members))
    return section


def _section(title: str, label: str) -> nodes.section:
    section = nodes.section(ids=[nodes.make_id(label)], names=[nodes.fully_normalize_name(label)])
    section += nodes.title(text=title)
    return section


def _prose(text: str) -> nodes.paragraph:
    """Return a paragraph whose options are literal, so that their dashes stay."""
    paragraph = nodes.paragraph()
    for number, part in enumerate(OPTION.split(text)):
        paragraph += nodes.literal(text=part) if number % 2 else nodes.Text(part)
    return paragraph


def _code(text: str, language: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language=language)


def _group(command: str, parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    option = max(parameter.opts, key=len)
    return str(parameter.rich_help_panel or option_panel(command, option) or "Options")


def _parameter(parameter: Any, context: Any) -> nodes.definition_list_item:
    """Return a term with the option's names and type, and its help with what is the default."""
    term = nodes.term()
    if parameter.param_type_name == "argument":
        term += nodes.literal(text=parameter.metavar or parameter.name)
    else:
        for number, spelling in enumerate([*parameter.opts, *parameter.secondary_opts]):
            term += [nodes.Text(", ")] if number else []
            term += nodes.literal(text=spelling)
    kind = parameter.display_type(context)
    if kind != "<bool>":
        term += nodes.inline(text=f" {kind}", classes=["option-type"])
    notes = [parameter.help or ""]
    default = parameter.get_default(context, call=False)
    if parameter.required:
        notes.append("Required.")
    elif _worth_saying(default):
        notes.append(f"Default: {default.value if isinstance(default, Enum) else default}.")
    return nodes.definition_list_item("", term, nodes.definition("", _prose(" ".join(notes))))


def _worth_saying(default: Any) -> bool:
    return not (default is None or isinstance(default, bool) or default == "" or inspect.isfunction(default))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
