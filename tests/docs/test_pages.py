"""The tutorials run as they are written."""

from __future__ import annotations

import pytest

from docs.pages import DOCS, blocks, run_page


@pytest.mark.parametrize(
    ("page", "least"), [("quickstart", 3), ("audit-tutorial", 14), ("bring-your-own", 9)]
)
def test_a_page_runs_as_written(tmp_path, page, least):
    assert run_page((DOCS / f"{page}.md").read_text(), tmp_path) >= least


@pytest.mark.parametrize(
    "page",
    [
        "```sh\nfalse\n```\n",
        "```sh\nfalse | true\n```\n",
        "```sh\necho one\n```\n\n```text\ntwo\n```\n",
        "```toml\n# scan.toml\nschema = 1\n```\n\n```sh\nidsim scan scan.toml\n```\n",
    ],
)
def test_a_page_that_does_not_run_is_seen(tmp_path, page):
    with pytest.raises(AssertionError):
        run_page(page, tmp_path)


def test_the_blocks_of_a_page():
    page = "text\n\n```python\n# a.py\nx = 1\n```\n\n```console\n$ ls\n```\n"
    assert [(block.language, block.text) for block in blocks(page)] == [
        ("python", "# a.py\nx = 1\n"),
        ("console", "$ ls\n"),
    ]
