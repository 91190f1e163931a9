"""One page in one file: results in words, tables and pictures, with nothing loaded from elsewhere.

The policy inside the page forbids every request, and every script and style but its own, which are named by their
hashes. Whatever comes from a run is escaped by the template engine, and characters that cannot be seen are made
visible.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.audit.shards import replace_file
from idsim.report.comparison import several_runs
from idsim.report.data import open_run
from idsim.report.figures import colours
from idsim.report.page import Options, one_run
from idsim.report.text import visible
from idsim.report.thumbnails import FACES

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from idsim.report.blocks import Page
    from idsim.report.thumbnails import Thumbnail, Told

__all__ = ["render", "write_report"]

# Everything is forbidden but pictures inside the page, and the script and the style with these hashes.
POLICY = (
    "default-src 'none'; img-src data:; style-src '{style}'; script-src '{script}'; base-uri 'none'; "
    "form-action 'none'"
)
RUNS = re.compile(rb'<meta name="idsim-runs" content="([0-9a-f ]+)">')
HEAD_BYTES = 1 << 16  # the runs of a page, 65 bytes each, stand within its first bytes


def write_report(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    path: str | os.PathLike[str] | None = None,
    *,
    faces: str = "blur",
    names: bool = False,
    max_pairs: int = 200,
    run_code: bool = False,
    overwrite: bool = False,
    progress: Told | None = None,
) -> Path:
    """Write the page of a run, or one that compares several.

    Parameters
    ----------
    runs : path-like or sequence of path-like
        Folders of finished runs.
    path : path-like, optional
        The file; default: ``report.html`` in the folder of a single run.
    faces : {"blur", "none", "show"}
        ``blur``: pictures of so few pixels that nobody is recognised. ``none``: no pictures. ``show``: recognisable
        pictures, blurred on the page until they are asked for.
    names : bool
        Show names of files and persons instead of pseudonyms, and whole paths.
    max_pairs : int
        Nearest pairs of a single run.
    run_code : bool
        Run generators that are functions, to draw their pictures again.
    overwrite : bool
        Replace the file whatever it is; otherwise only a report of the same runs is replaced.
    progress : callable, optional
        Called with (what, done, total).

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        A folder is no finished run, or an argument is none of those.
    FileExistsError
        Another file stands there.
    ModuleNotFoundError
        Jinja2 is missing (the extra ``report``).
    """
    folders = [runs] if isinstance(runs, str | Path) or hasattr(runs, "__fspath__") else list(runs)
    if faces not in FACES:
        raise ValueError(f"faces must be one of {', '.join(FACES)}, not {faces!r}")
    if max_pairs < 0:
        raise ValueError(f"max_pairs must be at least 0, not {max_pairs}")
    if not folders:
        raise ValueError("a report is of at least one run")
    found = [open_run(folder) for folder in folders]
    if path is None and len(found) > 1:
        raise ValueError("a report of several runs needs the name of its file")
    place = found[0].folder / "report.html" if path is None else Path(path)
    options = Options(faces, names, max_pairs, run_code, progress)
    page, pictures = one_run(found[0], options) if len(found) == 1 else several_runs(found, options)
    if not overwrite:
        _refuse_foreign(place, page.runs)
    replace_file(place, render(page, pictures, faces).encode())
    return place


def _refuse_foreign(path: Path, runs: str) -> None:
    """Refuse to replace a file that is no report of these runs."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        return
    found = RUNS.search(head)
    if found is None or found.group(1).decode() != runs:
        what = "is no report" if found is None else "is a report of another run"
        raise FileExistsError(f"{path} exists and {what}: nothing is overwritten unless asked for")


def render(page: Page, pictures: dict[str, Thumbnail], faces: str) -> str:
    """Return a page as HTML; equal pages give equal text."""
    import jinja2
    from markupsafe import Markup

    def fit(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=fit,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _template("page.css") + colours(), _template("page.js")
    return environment.get_template("page.html").render(
        page=page,
        pictures=pictures,
        faces=faces,
        policy=POLICY.format(style=_hash(style), script=_hash(script)),
        # The program's own files; nothing of a run is ever marked so.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
    )


def _template(name: str) -> str:
    return resources.files("idsim.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash of an inline script or style as a policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
