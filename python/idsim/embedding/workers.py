"""Who embeds: this process, or one process per device with ranges of the pictures."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from idsim.audit.embedding import ShardPlan, compute_shards
from idsim.audit.representing import Stages
from idsim.device_processes import share
from idsim.matchers.opening import open_matcher
from idsim.matchers.options import RunOptions
from idsim.sources import open_images
from idsim.sources.decoding import DecoderPool, default_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from idsim.embedding.config import EmbedConfig
    from idsim.matchers.base import Matcher
    from idsim.sources import ImageSource
    from idsim.sources.decoding import Content

__all__ = ["StoredPictures", "embed_shards", "open_device_matcher", "plan_of"]

MAX_STRETCH = 16  # shards that a device takes at once; at their end it waits for a picture to be decoded


@dataclass(frozen=True)
class StoredPictures:
    """The pictures of a source. What tells a range of them from another is names, sizes and times.

    Attributes
    ----------
    source : ImageSource
        Where they are.
    pool : DecoderPool or None
        Decodes them; None where only names are needed.
    """

    source: ImageSource
    pool: DecoderPool | None
    name: str = "images"

    @property
    def items(self) -> list[str]:
        """Names of the pictures."""
        return self.source.items

    @property
    def labels(self) -> list[str]:
        """Identity of every picture; its name where the source does not say."""
        return self.source.identities or self.source.items

    @property
    def origin(self) -> dict[str, Any]:
        """Nothing is known of where they come from."""
        return {}

    def key(self, description: str, start: int, stop: int) -> str:
        """Return the hash of a range of pictures and of what represents them."""
        text = json.dumps([description, self.source.stamps(start, stop)])
        return hashlib.sha256(text.encode()).hexdigest()

    def pictures(self, start: int, stop: int) -> Iterator[Content]:
        """Yield a range of pictures."""
        assert self.pool is not None, "whoever asks for pictures has opened them with decoders"
        return self.pool.decode(partial(self.source.read, number) for number in range(start, stop))


def open_device_matcher(config: EmbedConfig, device: str = "") -> Matcher:
    """Open the matcher of a run.

    Raises
    ------
    ValueError
        A text means nothing.
    CudaError
        A GPU is required or asked for, and the matcher does not run on one.
    MatcherError, ModuleNotFoundError
        It cannot be used.
    """
    options = RunOptions(device or ("cuda" if config.require_gpu else "cpu"), config.require_gpu)
    return open_matcher(
        config.matcher, model=config.model, detector=config.detector, align=config.align, options=options
    )


def plan_of(
    config: EmbedConfig, source: ImageSource, matcher: Matcher, pool: DecoderPool | None
) -> ShardPlan:
    """Return the shards of a run."""
    text = json.dumps(matcher.describe(), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ShardPlan(StoredPictures(source, pool), digest, config.folder / "shards")


def embed_shards(
    config: EmbedConfig,
    source: ImageSource,
    matcher: Matcher,
    numbers: Sequence[int],
    stages: Stages,
    done: Callable[[int], None],
) -> None:
    """Compute the missing shards of a run; `done` is called with numbers of pictures as they are finished.

    Raises
    ------
    ValueError
        A file changed meanwhile.
    IdsimError
        A process died.
    """
    if len(config.devices) < 2:
        with closing(DecoderPool(config.workers, config.seconds)) as pool:
            plan = plan_of(config, source, matcher, pool)
            for _ in compute_shards(plan, numbers, matcher, stages, lambda: done(1)):
                _note_decoding(pool, stages)
        return
    bounds = plan_of(config, source, matcher, None).bounds

    def finished(stretch: list[int], times: dict[str, list[float]]) -> None:
        stages.merge(times)
        done(sum(stop - start for start, stop in map(bounds, stretch)))

    size = max(1, min(MAX_STRETCH, len(numbers) // (4 * len(config.devices))))
    stretches = [list(numbers[start : start + size]) for start in range(0, len(numbers), size)]
    share(stretches, config.devices, _start_worker, (config,), _work, finished, _shown)


def _note_decoding(pool: DecoderPool, stages: Stages) -> None:
    seconds, pictures = pool.take_times()
    stages.add("decode", seconds, pictures, pool.workers)


def _shown(stretch: list[int]) -> str:
    return f"shards {stretch[0]} to {stretch[-1]}"


# --- in a worker process --------------------------------------------------------------------------


class _Worker(NamedTuple):
    plan: ShardPlan
    matcher: Matcher
    pool: DecoderPool


_worker: list[_Worker] = []  # one, set when the process starts


def _start_worker(device: str, config: EmbedConfig) -> None:
    matcher = open_device_matcher(config, device)
    workers = max(1, (config.workers or default_workers()) // len(config.devices))
    pool = DecoderPool(workers, config.seconds)
    source = open_images(config.images, config.kind, config.split)
    _worker.append(_Worker(plan_of(config, source, matcher, pool), matcher, pool))


def _work(stretch: list[int]) -> dict[str, list[float]]:
    worker, stages = _worker[0], Stages()
    for _ in compute_shards(worker.plan, stretch, worker.matcher, stages, lambda: None):
        pass
    _note_decoding(worker.pool, stages)
    return stages.times()
