"""The documentation as a site: `nox -s docs`. Everything is local, no page is fetched and none points to a CDN."""

from __future__ import annotations

import sys
from pathlib import Path

import idsim

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "idsim"
copyright = "the idsim authors"  # noqa: A001 - Sphinx's name
version = release = idsim.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "contents",
    "commands",
    "public_names",
]
root_doc = "index"
exclude_patterns = ["_extensions"]

# The pages are read on code hosts too: plain Markdown with relative links, whose anchors are those of code hosts.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
suppress_warnings = ["myst.header"]  # a table may stand before the first second-level heading

# Pages of names are complete: see _extensions/public_names.py.
documented_modules = [
    "idsim",
    "idsim.audit",
    "idsim.embedding",
    "idsim.gallery",
    "idsim.generators",
    "idsim.matchers",
    "idsim.sampling",
]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types and shapes stand in the docstrings
napoleon_google_docstring = False
napoleon_use_param = False  # types are words: "ndarray [n, d]", no references
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]
default_role = "code"
smartquotes_action = "D"  # dashes, no quotes

# Warnings are errors: links, anchors and references must lead somewhere. Types of other libraries have no page here.
nitpicky = True
nitpick_ignore_regex = [("py:exc", r"\w+")]  # an exception that a docstring names as a word

html_theme = "furo"
html_title = f"idsim {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
