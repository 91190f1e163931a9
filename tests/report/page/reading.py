"""Pages made, and taken apart: elements with their attributes, text, and the pictures inside them."""

from __future__ import annotations

import base64
import io
import re
import shutil
from html.parser import HTMLParser

from PIL import Image

from idsim.report.html import write_report


class Parsed(HTMLParser):
    """Elements in order, as (name, attributes), and all text outside scripts and styles."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.text = []
        self.raw = {"style": [], "script": []}
        self._inside = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in self.raw:
            self._inside = tag
            self.raw[tag].append("")

    def handle_endtag(self, tag):
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data):
        if self._inside:
            self.raw[self._inside][-1] += data
        else:
            self.text.append(data)

    @property
    def words(self):
        """All text with single spaces."""
        return " ".join("".join(self.text).split())

    def named(self, tag):
        """Attributes of every element of a name."""
        return [attributes for name, attributes in self.elements if name == tag]


def shape(parsed):
    """What elements a page has, and what attributes, without their values: hostile names must not change it."""
    return [(name, tuple(sorted(attributes))) for name, attributes in parsed.elements]


def pictures_of(text):
    """The pictures inside a page, decoded."""
    found = re.findall(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)", text)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in found]


def page(run, path, **options):
    return write_report(run, path, **options).read_text(encoding="utf-8")


def copied(run, folder):
    """A run that a test may change."""
    return shutil.copytree(run, folder / run.name)
