"""What the numbers of a page rest on: how scores were computed, from what, and how to get the same again."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from idsim.audit.configuration.toml_text import to_toml
from idsim.audit.folder import PROVENANCE, SUMMARY
from idsim.report.blocks import Code, Facts, Paragraph, Section
from idsim.report.results import LIMITS, provenance_sha256, reproduce
from idsim.report.text import count, last_part

if TYPE_CHECKING:
    from idsim.report.blocks import Block
    from idsim.report.data import RunResults

__all__ = ["date_of", "exactness", "identity_of", "limits", "provenance", "reproduction"]

# Keys of a configuration whose values are paths.
PATHS = {"images", "embeddings", "ids", "generator", "model", "models", "detector", "kind", "synthetic", "training",
         "holdout", "probes", "labels", "strata", "dir"}  # fmt: skip

FORMULAS = {
    "cosine": "cosine = float32(dot(q, x) / (√dot(q, q) · √dot(x, x)))",
    "dot": "dot = float32(dot(q, x))",
    "l2": "distance = float32(√max(0, dot(q, q) + dot(x, x) − 2 dot(q, x)))",
}


MORE_LIMITS = (
    """A match is no proof that a person was copied: in a large gallery somebody resembles anybody. Only the excess over
    the holdout counts, and single pairs are evidence only together with their error rates.""",
    """Pseudonyms are keyed hashes. Whoever has the inputs or the run folder can resolve them.""",
)

SCORES = (
    """Every pair was compared: no index that leaves pairs out, no approximation. dot(q, x) is a sum in float64 over 32
    interleaved partial sums in a fixed order; the product of two float32 numbers is exact there. Scores have the same
    bits on every processor, with any number of threads, and however the work was cut.""",
    """Pairs may be dropped early by products of 8-bit or 16-bit codes, and only where a proved bound shows that the
    score cannot reach what is kept: |q·x − q̂·x̂| ≤ ‖rq‖·‖x‖ + ‖q̂‖·‖rx‖, with q̂ and x̂ the codes, rq and rx what they
    lost. Everything else is decided by the score itself.""",
)


def identity_of(run: RunResults) -> str:
    """Return the SHA-256 of the run's summary: it tells whose page this is."""
    return hashlib.sha256((run.folder / SUMMARY).read_bytes()).hexdigest()


def date_of(run: RunResults) -> str:
    """Return when the results were written, in UTC to the minute, as the file's time says."""
    written = datetime.fromtimestamp((run.folder / SUMMARY).stat().st_mtime, UTC)
    return f"{written:%Y-%m-%d %H:%M} UTC"


def exactness(run: RunResults) -> Section:
    """Return how exactly scores were computed."""
    blocks: list[Block] = []
    given = [matcher.name for matcher in run.matchers if matcher.summary["matcher"].get("scores")]
    metrics = sorted(
        {str(matcher.summary["matcher"]["metric"]) for matcher in run.matchers if matcher.name not in given}
    )
    if metrics:
        blocks += [Paragraph(" ".join(text.split())) for text in SCORES]
        blocks.append(
            Facts("Scores", [("Metric", FORMULAS.get(metric, metric)) for metric in metrics], mono=True)
        )
    if given:
        blocks.append(
            Paragraph(f"The scores of {', '.join(given)} were given as files and taken as they are.")
        )
    blocks.append(
        Paragraph(
            "Embeddings come from the matchers and their libraries, which promise less: another version or processor "
            "may change their last bits."
        )
    )
    compared = [
        (_of(run, part.matcher, part.name), count(part.primary[key]["pairs_compared"]))
        for part in run.sets
        if part.primary is not None
        for key in ("exposure_training",)
    ]
    if compared:
        blocks.append(Facts("Pairs of synthetic and training images compared", compared))
    return Section("exactness", "Exactness", "", blocks)


def _of(run: RunResults, matcher: str, name: str) -> str:
    parts = [matcher] if len(run.matchers) > 1 or not name else []
    return ", ".join([*parts, *([name] if name else [])])


def provenance(run: RunResults, names: bool) -> Section:
    """Return inputs, matchers, generators and software, by hash and version, with licences."""
    blocks: list[Block] = []
    described = run.provenance.get("matchers") or {run.matchers[0].name: run.provenance}
    for number, (name, entry) in enumerate(described.items()):
        if "matcher" in entry:
            blocks.append(Facts(f"Matcher {name}", _matcher(entry["matcher"], names), mono=True))
        if number == 0 or entry.get("inputs") != next(iter(described.values())).get("inputs"):
            title = "Inputs" if number == 0 else f"Inputs of {name}"
            blocks.append(Facts(title, _inputs(entry.get("inputs", {})), mono=True))
    generators = _generators(run, names)
    if generators:
        blocks.append(Facts("Generators", generators, mono=True))
    declared = tomllib.loads(run.config).get("declared", {})
    blocks.append(
        Facts(
            "Declared by whoever ran the scan",
            [(key.replace("_", " "), str(value) or "nothing") for key, value in declared.items()],
        )
    )
    blocks.append(
        Facts("Software", [(name, str(value)) for name, value in run.provenance["software"].items() if value])
    )
    machine = _machine(run)
    if machine:
        blocks.append(Facts("Machine, which changes no result", machine))
    files = [(SUMMARY, identity_of(run)), (PROVENANCE, provenance_sha256(run))]
    blocks.append(Facts("SHA-256 of the run's files", files, mono=True))
    lead = (
        "Licences are those that the authors of matchers and generators state. A licence of weights does not cover the "
        "faces that they were trained on."
    )
    return Section("provenance", "Provenance and licences", lead, blocks)


def _matcher(entry: dict[str, Any], names: bool) -> list[tuple[str, str]]:
    """Return what a reader must know of a matcher, then every hash in its description."""
    facts = [
        (key, str(entry[key])) for key in ("name", "licence", "metric", "dim", "runtime") if entry.get(key)
    ]
    for key, value in _flat(entry):
        if key.endswith("sha256") and value:
            facts.append((key, str(value)))
        elif key.rpartition(".")[2] in ("file", "path", "model") and value:
            facts.append((key, str(value) if names else last_part(str(value))))
    return facts


def _inputs(inputs: dict[str, Any]) -> list[tuple[str, str]]:
    facts = []
    for name, entry in inputs.items():
        if "generator" in entry or "images" in entry or "rows" in entry or "sha256" in entry:
            facts.append((name, _input(entry)))
        else:  # a series: by set
            facts += [
                (f"{name}, {one}", _input(value)) for one, value in entry.items() if isinstance(value, dict)
            ]
    return facts


def _input(entry: dict[str, Any]) -> str:
    amounts = [
        f"{count(entry[key])} {key}" for key in ("images", "rows", "items") if isinstance(entry.get(key), int)
    ]
    drawn = entry.get("generator")
    of = (
        f"drawn by {drawn.get('name', 'a generator')}, {drawn.get('sha256', '')}"
        if isinstance(drawn, dict)
        else ""
    )
    return "; ".join(part for part in (*amounts, of, str(entry.get("sha256", ""))) if part)


def _generators(run: RunResults, names: bool) -> list[tuple[str, str]]:
    facts: dict[str, str] = {}
    for part in run.sets:
        drawn = part.summary["sets"]["synthetic"].get("generator")
        if drawn:
            network = drawn["network"] if names else last_part(drawn["network"])
            psi = "its own" if drawn["psi"] is None else f"{drawn['psi']:g}"
            facts[part.name or network] = f"{network}; psi {psi}; seeds {drawn['seeds']}; {drawn['sha256']}"
    licences = {
        str(entry["licence"])
        for entry in (dict(value) for _, value in _entries(run.provenance, "generator"))
        if entry.get("licence")
    }
    return [*facts.items(), *[("licence", licence) for licence in sorted(licences)]]


def _entries(value: Any, key: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every table of this name in nested tables."""
    if not isinstance(value, dict):
        return []
    found = (
        [(key, value[key])] if isinstance(value.get(key), dict) and "config" not in value.get(key, {}) else []
    )
    return found + [entry for name, one in value.items() if name != "config" for entry in _entries(one, key)]


def _flat(value: Any, place: str = "") -> list[tuple[str, Any]]:
    """Return the plain values of nested tables with their places."""
    if isinstance(value, dict):
        return [
            entry
            for key, one in value.items()
            for entry in _flat(one, f"{place}.{key}" if place else str(key))
        ]
    if isinstance(value, list):
        return [entry for number, one in enumerate(value) for entry in _flat(one, f"{place}.{number}")]
    return [(place, value)]


def _machine(run: RunResults) -> list[tuple[str, str]]:
    """Return on what the scan ran, where that was noted."""
    path = run.folder / "times.json"
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_bytes())
        machine = found["machine"]
        return [
            ("kernels", str(machine["kernels"])),
            ("threads", str(machine["threads"])),
            ("CUDA devices", str(machine["cuda_devices"])),
            ("time", f"{found['seconds']:.3g} s"),
            ("peak memory", f"{found['peak_memory_bytes'] / 1e6:.0f} MB"),
        ]
    except (ValueError, KeyError, TypeError):
        return []


def reproduction(run: RunResults, command: str, names: bool) -> Section:
    """Return the commands and the description that give the same numbers again.

    Parameters
    ----------
    run : RunResults
        The run.
    command : str
        The one that makes this page.
    names : bool
        Whether paths may be shown; otherwise their last parts are.
    """
    version = run.provenance["software"]["idsim"]
    text = f"pip install idsim=={version}\n{reproduce(run)}\n{command}\n"
    config = run.config if names else to_toml(_plain(tomllib.loads(run.config)))
    statistics = run.summary["statistics"]
    lead = (
        f"With the same inputs and versions the same description gives the same bytes of {SUMMARY}. Resampling starts "
        f"from seed {statistics['seed']}: {count(statistics['bootstrap_replicates'])} bootstrap replicates, "
        f"{count(statistics['permutations'])} permutations."
    )
    paths = "" if names else ", paths by their last part"
    return Section(
        "reproduce",
        "How to reproduce this",
        lead,
        [Code("Commands", text), Code(f"scan.toml with all defaults{paths}", config, folded=True)],
    )


def _plain(value: Any, key: str = "") -> Any:
    """Return a configuration with paths cut to their last part."""
    if isinstance(value, dict):
        return {name: _plain(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, key) for one in value]
    if isinstance(value, str) and key in PATHS and re.search(r"[/\\~]", value):
        return last_part(value)
    return value


def limits(run: RunResults) -> Section:
    """Return what this page does not say."""
    texts = [" ".join(text.split()) for text in (*LIMITS, *MORE_LIMITS)]
    each = [name for name in ("training", "holdout") if _labels(run, name) == "each"]
    if each:
        texts.append(
            f"Every image of {' and '.join(each)} was taken for a person of its own: nobody said who is who."
        )
    return Section("limits", "What this does not say", "", [Paragraph(text) for text in texts])


def _labels(run: RunResults, name: str) -> str:
    return str(run.matchers[0].summary["sets"].get(name, {}).get("labels", ""))
