"""A finished or interrupted run opened again: its sets and comparisons, from the folder alone."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from idsim.audit.configuration.config import read_config
from idsim.audit.execution import Execution
from idsim.audit.folder import PROVENANCE, SUMMARY, difference
from idsim.audit.pairs.asking import comparisons_of
from idsim.audit.setting_up import set_up
from idsim.audit.tables import write_json
from idsim.audit.times import Times
from idsim.audit.work import Job
from idsim.sources.decoding import DecoderPool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.pairs.comparing import Comparisons
    from idsim.audit.pairs.pairing import Pairing
    from idsim.audit.work import Work

__all__ = ["OpenRun", "note_origin", "open_run"]

ORIGIN = "origin.json"


class OpenRun(NamedTuple):
    """A run with everything that it was made of.

    Attributes
    ----------
    folder : Path
        The run folder.
    config : ScanConfig
        The scan.
    summary : dict
        The content of ``summary.json``.
    works : list of Work
        By matcher, with all embeddings.
    pairings : dict
        Comparisons by name of the matcher; scores that were given are not among them.
    copies : Work or None
        Of thumbnails, where pictures were looked at for near copies.
    """

    folder: Path
    config: ScanConfig
    summary: dict[str, Any]
    works: list[Work]
    pairings: dict[str, Pairing]
    copies: Work | None = None

    def summary_of(self, work: Work) -> dict[str, Any]:
        """Return the summary of one matcher."""
        if not self.config.matchers:
            return self.summary
        found: dict[str, Any] = self.summary["matchers"][work.label]
        return found

    def comparisons(self, work: Work, variant: str) -> Comparisons:
        """Return the scores between the real sets and one synthetic set of a matcher."""
        return comparisons_of(work, self.pairings.get(work.label), variant)


def note_origin(folder: Path, config: Path) -> None:
    """Write down which file describes a run, for `open_run`. It is no part of the results."""
    write_json(folder / ORIGIN, {"config": str(config.resolve())})


@contextlib.contextmanager
def open_run(folder: Path) -> Iterator[OpenRun]:
    """Open a finished run.

    Parameters
    ----------
    folder : Path
        The run folder.

    Raises
    ------
    ValueError
        It is no finished run, or what it was made of has changed or is gone; what differs is named.
    Unfinished
        Shards are missing.
    """
    if not (folder / SUMMARY).exists() or not (folder / PROVENANCE).exists():
        raise ValueError(f"{folder} is no finished run of a scan")
    try:
        place = Path(json.loads((folder / ORIGIN).read_bytes())["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder} does not say which file describes it ({ORIGIN}): run idsim scan again"
        ) from error
    if not place.exists():
        raise ValueError(f"{folder} was described by {place}, which is gone")
    config = read_config(place)
    with contextlib.ExitStack() as stack:
        pictures = any(alone.uses_images for alone in config.alone().values())
        pool = stack.enter_context(contextlib.closing(DecoderPool())) if pictures else None
        prepared = set_up(config, folder, pool, "", lambda *_: None)
        before = json.loads((folder / PROVENANCE).read_bytes())
        now = json.loads(json.dumps({"config": config.resolved(), **prepared.provenance}))
        changed = difference(before, now)
        if changed:
            raise ValueError(f"{folder} is a run of something else than {place} describes now: {changed}")
        pairings = Execution(prepared.all_works, Job(0, 0), lambda *_: None, Times()).run()
        summary = json.loads((folder / SUMMARY).read_bytes())
        yield OpenRun(folder, config, summary, prepared.works, pairings, prepared.copies)
