"""What a description of a scan must keep to; every refusal names the key."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING

from idsim.audit.pairs.pair_names import check_pair_names
from idsim.audit.rates.strata_cells import check_weights
from idsim.audit.strata_files import is_file
from idsim.generators.seeds import parse_seeds
from idsim.sources import KINDS, SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from idsim.audit.configuration.config import ScanConfig, SetConfig, SyntheticConfig
    from idsim.audit.configuration.matcher_config import MatcherConfig

    Refuse = Callable[[str], None]

__all__ = ["check_config"]

FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
ANSWERS = ("yes", "no", "unknown")


def check_config(config: ScanConfig, source: Path) -> None:
    """Raise `ValueError` where a configuration contradicts itself; `source` is the file that it came from."""

    def refuse(text: str) -> None:
        raise ValueError(f"{source}: {text}")

    name = config.run.name
    if not name or name in (".", "..") or "/" in name or "\\" in name or not name.isprintable():
        given = f", not {name!r}" if name else ': name = "first"'
        refuse(f"[run] name must name the run: one folder name, without slashes{given}")
    if config.run.seed < 0:
        refuse(f"[run] seed must be at least 0, not {config.run.seed}")
    _check_generator(config.synthetic, refuse)
    _check_matchers(config.matchers, refuse)
    for label, alone in config.alone().items():
        _check_sets(alone, f" for the matcher {label}" if label else "", refuse)
        _check_matcher(alone, refuse)
    _check_numbers(config, refuse)
    check_pair_names(config.comparisons.sets, config.probes is not None, refuse)
    for key in ("matcher_saw_training", "generator_mirrored"):
        if getattr(config.declared, key) not in ANSWERS:
            refuse(
                f"[declared] {key} must be one of {', '.join(ANSWERS)}, not {getattr(config.declared, key)!r}"
            )

    for key in ("literature", "manifold"):
        if getattr(config.analysis, key) not in ("yes", "no", "auto"):
            refuse(f"[analysis] {key} must be 'yes', 'no' or 'auto', not {getattr(config.analysis, key)!r}")
    if config.analysis.near_copies not in ("yes", "no"):
        refuse(f"[analysis] near_copies must be 'yes' or 'no', not {config.analysis.near_copies!r}")
    try:
        check_weights(config.analysis.strata_weights)
    except ValueError as error:
        refuse(f"[analysis] {error}")
    for rate in config.calibration.extrapolate:
        if not 0 < rate < 1:
            refuse(f"[calibration] extrapolate must lie between 0 and 1, not {rate!r}")


def _check_matchers(matchers: tuple[MatcherConfig, ...], refuse: Refuse) -> None:
    labels = [matcher.label for matcher in matchers]
    for label in labels:
        if not FOLDER_NAME.fullmatch(label):
            refuse(
                f"[[matcher]] name must be a folder name of letters, digits, '.', '_' and '-', not {label!r}"
            )
        if label == "near-copies":
            refuse("[[matcher]] name must be another one than 'near-copies', which thumbnails have")
        if labels.count(label) > 1:
            refuse(f"[[matcher]] two matchers are called {label!r}: give them names")


def _check_sets(config: ScanConfig, of: str, refuse: Refuse) -> None:
    for title, part in config.sets.items():
        if (bool(part.images), bool(part.embeddings), bool(part.ids), part.drawn).count(True) != 1:
            also = ", a generator" if title == "synthetic" else ""
            refuse(f"[{title}] must have either images{also}, embeddings or ids{of}")
        if bool(part.images or part.drawn) != config.uses_images or (not part.ids) != (config.scores is None):
            refuse("all sets must be images, or all embeddings of one matcher, or all ids with [scores]" + of)
        _check_source(title, part, refuse)
    if config.training.mirrored != config.holdout.mirrored:
        refuse("[training] and [holdout] must both be mirrored, or neither: the rates are compared")


def _check_source(title: str, part: SetConfig, refuse: Refuse) -> None:
    if part.images and part.labels not in ("each", "folder", "identity"):
        refuse(f"[{title}] labels must be 'each', 'folder' or 'identity' for images, not {part.labels!r}")
    if (part.embeddings or part.ids) and part.labels in ("folder", "identity"):
        given = "ids" if part.ids else "embeddings"
        refuse(f"[{title}] labels must be 'each', 'group' or a .npy file for {given}, not {part.labels!r}")
    for key in ("kind", "split", "mirrored"):
        if getattr(part, key) and not part.images:
            refuse(f"[{title}] {key} belongs to images, and there are none")
    if title == "synthetic" and part.mirrored:
        refuse("[synthetic] mirrored belongs to the real sets")
    if part.kind not in ("", *KINDS):
        refuse(f"[{title}] kind must be one of {', '.join(KINDS)}, not {part.kind!r}")
    if part.strata and not part.embeddings and not is_file(part.strata):
        refuse(
            f"[{title}] strata must be a .npy or .csv file, not {part.strata!r}: columns belong to embeddings"
        )
    if part.drawn and part.strata.endswith(".npy"):
        refuse(f"[{title}] strata must be a .csv file for a generator: its items are called by their seeds")
    if part.split not in SPLITS:
        refuse(f"[{title}] split must be 'training' or 'validation', not {part.split!r}")


def _check_generator(part: SyntheticConfig, refuse: Refuse) -> None:
    given = [key for key in ("seeds", "psi", "classes", "noise", "device") if getattr(part, key)]
    if not part.generator:
        if given:
            refuse(f"[synthetic] {given[0]} belongs to a generator, and there is none")
        return
    if part.labels != "each":
        refuse(f"[synthetic] labels must be 'each' for a generator, not {part.labels!r}: a seed is a cluster")
    try:
        part.series()
        for text in part.seeds:
            parse_seeds(text)
    except ValueError as error:
        refuse(f"[synthetic] {error}")


def _check_matcher(config: ScanConfig, refuse: Refuse) -> None:
    matcher = config.matcher
    if config.uses_images:
        matcher.check_for_pictures(refuse)
        return
    if config.scores is not None:
        if matcher.kind not in ("", "scores"):
            refuse(f"[matcher] kind must be 'scores' where scores are given, not {matcher.kind!r}")
        if matcher.metric:
            refuse("[matcher] metric belongs to embeddings: [scores] score_scale says what scores are")
        config.scores.check(config.calibration.against, refuse)
        return
    matcher.check_for_vectors(refuse)


def _check_numbers(config: ScanConfig, refuse: Refuse) -> None:
    calibration, statistics, output = config.calibration, config.statistics, config.output
    for key in ("fmr", "fpir"):
        for value in getattr(calibration, key):
            if not 0 < value < 1:
                refuse(f"[calibration] {key} must lie between 0 and 1, not {value!r}")
    names = [target.name for target in calibration.targets()]
    if not names:
        refuse("[calibration] needs at least one operating point: fpir, fmr or thresholds")
    if len(set(names)) != len(names):
        refuse("[calibration] lists an operating point twice")
    if calibration.primary and calibration.primary not in names:
        refuse(f"[calibration] primary must be one of {', '.join(names)}, not {calibration.primary!r}")
    if calibration.against not in ("holdout", "training"):
        refuse(f"[calibration] against must be 'holdout' or 'training', not {calibration.against!r}")
    if not 0.5 < statistics.confidence < 1:
        refuse(f"[statistics] confidence must lie between 0.5 and 1, not {statistics.confidence}")
    for key, least in (("bootstrap", 100), ("permutations", 99), ("draws", 1)):
        if getattr(statistics, key) < least:
            refuse(f"[statistics] {key} must be at least {least}, not {getattr(statistics, key)}")
    for entry in fields(output):
        if getattr(output, entry.name) < 1:
            refuse(f"[output] {entry.name} must be at least 1, not {getattr(output, entry.name)}")
