"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["progress_bar"]


@contextlib.contextmanager
def progress_bar(title: str, quiet: bool = False) -> Iterator[Callable[..., bool]]:
    """Show a bar while the block runs.

    Parameters
    ----------
    title : str
        What is being done.
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        ``update(done, total, note="")``, where the note stands behind the bar; it returns True, so it serves as
        the engine's progress callback.
    """
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[note]}"))
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(title, total=None, note="")

        def update(done: int, total: int, note: str = "") -> bool:
            bar.update(task, completed=done, total=total, note=note)
            return True

        yield update
