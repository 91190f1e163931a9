"""The site's navigation from `index.md`: its headings are captions, its relative links the pages below them.

So the first page reads well on a code host, and a new page needs one link there. A page without one is in no table of
contents, which Sphinx reports.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([\w./-]+)\.(?:md|rst)\)")

# Files of the repository that have a page of their own on the site.
OUTSIDE = {"../CONTRIBUTING.md": "contributing.md", "../CHANGELOG.md": "changelog.md"}


def sections(text: str) -> list[tuple[str, list[str]]]:
    """Return the headings of the first page, each with the pages that are linked below it, once each."""
    parts = HEADING.split(text)
    seen: set[str] = set()
    found = []
    for caption, body in zip(parts[1::2], parts[2::2], strict=True):
        pages = [page for page in dict.fromkeys(LINK.findall(body)) if page not in seen]
        seen.update(pages)
        if pages:
            found.append((caption, pages))
    return found


def inside(text: str) -> str:
    """Return a page whose links to files of the repository lead to their pages."""
    for path, page in OUTSIDE.items():
        text = text.replace(f"]({path}", f"]({page}")
    return text


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    if "/" not in name:
        source[0] = inside(source[0])
    if name == app.config.root_doc:
        for caption, pages in sections(source[0]):
            lines = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```\n"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
