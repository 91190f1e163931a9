"""The program ``idsim``: finds the command, runs it, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import importlib
import sys
from traceback import print_exc
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from idsim import __version__
from idsim.cli import failures
from idsim.cli.help import AUDIT, COMMAND_PANELS, arrange

__all__ = ["app", "run"]

# Command -> (module in idsim.cli, its function or sub-app, the line that `idsim --help` shows). A module is
# imported when its command runs, so that help and completion stay instant.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("demo", "demo", "Find the leaks of a small generator of drawn faces, and none of another."),
    "scan": ("scan", "scan", "Measure whether synthetic faces resemble people of the training set."),
    "status": ("runs", "status", "Say how far a scan is."),
    "merge": ("runs", "merge", "Write the results of a scan that several jobs shared."),
    "filter": (
        "filter",
        "filter_images",
        "List the synthetic images of a scan that reach nobody it trained on.",
    ),
    "report": ("report", "report", "Write a finished scan as one page, or compare several."),
    "bundle": ("bundle", "bundle", "Pack a finished scan for others to replicate."),
    "gate": ("gate", "gate", "Say whether a finished scan fulfils a policy."),
    "calibrate": (
        "calibrate",
        "calibrate",
        "Find the thresholds of a matcher, and what is known of their errors.",
    ),
    "sample": ("sample", "sample", "Draw pictures of generators by seed, resumably."),
    "embed": ("embed", "embed", "Turn pictures into a gallery of embeddings, resumably."),
    "search": ("search", "search", "Find the best matches of every query in a gallery."),
    "gallery": ("gallery", "app", "Build, describe, verify, convert and merge galleries."),
    "generator": ("generator", "app", "Describe, convert and verify checkpoints of generators."),
    "matcher": ("matcher", "app", "List, describe and check face matchers."),
    "bench": ("bench", "bench", "Time searches on this machine, beside the rivals that are installed."),
    "selftest": ("selftest", "selftest", "Prove on this machine that the answers are exact."),
    "doctor": ("doctor", "doctor", "Say what this machine and this installation offer."),
}


def load(name: str) -> Any:
    """Import the module of a command and return the command as Typer runs it."""
    module, attribute, summary = (COMMANDS | SECOND)[name]
    entry = getattr(importlib.import_module(f"idsim.cli.{module}"), attribute)
    if not isinstance(entry, typer.Typer):
        holder = typer.Typer(add_completion=False)
        holder.command(name)(entry)
        entry = holder
    command = typer.main.get_command(entry)
    command.name = name
    command.help = command.help or summary
    return command


# Commands of two words, not listed by `idsim --help`: the first word is a command of its own.
SECOND = {
    "scan person": ("person", "person", "Say whether one person was reproduced."),
    "selftest audit": ("selftest_audit", "audit", "Prove that the audit's intervals and p-values are right."),
}


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and remaining arguments, with the command loaded."""
        both = " ".join(args[:2])
        if both in SECOND:
            return both, arrange(load(both), both), args[2:]
        name, command, rest = super().resolve_command(ctx, args)
        return name, arrange(load(name), name) if name in COMMANDS else command, rest


app = typer.Typer(
    name="idsim",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with [bold]idsim demo[/bold]. [bold]idsim COMMAND --help[/bold] shows examples; "
    "[bold]idsim --install-completion[/bold] teaches your shell to complete commands, options and values.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"idsim {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop."),
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", hidden=True, help="Show where an error came from.")
    ] = False,
) -> None:
    """Exact similarity search over embeddings, and an identity-leakage audit of face generators.

    Exit status: 0 done, 1 policy violated or replication differs, 2 bad usage or input, 3 inconclusive,
    4 incomplete but resumable, 5 a needed capability is missing, 130 interrupted.
    """


def _register_names() -> None:
    for name, (_, _, summary) in COMMANDS.items():
        # Stands for the command in `idsim --help`; LazyGroup replaces it before anything runs.
        panel = COMMAND_PANELS.get(name, AUDIT)
        app.command(name, help=summary, rich_help_panel=panel)(lambda: None)


_register_names()


def run() -> None:
    """Run the command line and exit with its code."""
    try:
        app(prog_name="idsim")
    except KeyboardInterrupt:
        sys.exit(failures.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - every error ends here
        described = failures.describe(error)
        if described is None or "--traceback" in sys.argv:
            print_exc()
        if described is None:
            sys.exit(failures.INTERNAL)
        code, message = described
        sys.stderr.write(f"idsim: {message}\n")
        sys.exit(code)
