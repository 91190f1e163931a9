"""Checks that decide whether the numbers of a scan mean what they seem to: docs/diagnostics.md.

Every check is a function of arrays or plain values and returns findings: a severity, a sentence for a reader who is
no statistician, and the numbers behind it. Import from the modules; nothing is run here.
"""

from __future__ import annotations
