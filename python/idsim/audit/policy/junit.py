"""The result of the gate as JUnit XML, the form in which GitHub, GitLab and Jenkins show results of tests.

A rule is a test case: violated is a failure, inconclusive an error, accepted is skipped. Names come from files and
people: characters that XML 1.0 does not allow are replaced, everything else is escaped. There is no time in it, so
that equal results give equal bytes.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idsim.audit.policy.gating import GateResult
    from idsim.audit.policy.gating_rows import Row

__all__ = ["to_junit"]

# Everything but the characters of XML 1.0, section 2.2; also the controls that it only discourages.
FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

ELEMENTS = {"violated": "failure", "inconclusive": "error", "accepted": "skipped"}


def to_junit(result: GateResult) -> str:
    """Return the XML document of a result."""
    outcomes = [row.outcome for row in result.rows]
    counts = (
        f'tests="{len(outcomes)}" failures="{outcomes.count("violated")}" errors="{outcomes.count("inconclusive")}"'
        f' skipped="{outcomes.count("accepted")}"'
    )
    suite = _attribute(f"idsim gate {result.run}".strip())
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="idsim gate" {counts} time="0">',
        f'  <testsuite name="{suite}" {counts} time="0">',
        *(_case(row, result.run) for row in result.rows),
        "  </testsuite>",
        "</testsuites>",
    ]
    return "\n".join(lines) + "\n"


def _case(row: Row, run: str) -> str:
    name = f"{row.rule} [{row.scope}]" if row.scope else row.rule
    start = f'    <testcase classname="{_attribute(f"idsim.gate.{run}")}" name="{_attribute(name)}" time="0"'
    if row.outcome == "passed":
        return start + "/>"
    element = ELEMENTS[row.outcome]
    message = _attribute(row.sentence)
    kind = "" if element == "skipped" else f' type="{row.outcome}"'
    facts = _text(f"value: {row.value}\nlimit: {row.limit}")
    body = "/>" if element == "skipped" else f">{facts}</{element}>"
    return f'{start}>\n      <{element} message="{message}"{kind}{body}\n    </testcase>'


def _text(value: str) -> str:
    return html.escape(FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", value), quote=False)


def _attribute(value: str) -> str:
    """Return text for an attribute; white space of any kind is one space there."""
    clean = FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", " ".join(value.split()))
    return html.escape(clean, quote=True)
