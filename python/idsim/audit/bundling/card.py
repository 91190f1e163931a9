"""The data-set card of a bundle: what it is, how it was made, what is in it and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BIOMETRIC", "card"]

BIOMETRIC = (
    "Embeddings and pictures of faces are biometric data: they identify people, and faces can be rebuilt from "
    "embeddings."
)

HEAD = """\
# Replication bundle of the scan {run}

An audit of identity leakage by idsim {version}: whether synthetic faces resemble people of a training set more
often than people of a holdout.

> {verdict}

## Replicate

```sh
pip install idsim=={version}
idsim scan --from-bundle FILE -o replicated
```

Everything that rests on scores is computed again from the comparisons in this file: thresholds, rates, intervals,
p-values, checks, tables. The command says what was computed again and what was taken, compares each file below
`results/` byte for byte, and ends with exit status 0 where all are the same, and with 1 where one differs. Versions
that the scan ran with: {software}.

## How it was made

{matchers}
{generators}
- Seed of all resampling: {seed}. The configuration with all defaults is `config.toml`.

## What is in it

| member | content |
|---|---|
| `manifest.json` | schema version, and size and SHA-256 of every other member |
| `config.toml` | the scan{config} |
| `run.json` | versions, matchers with the hashes of their files, {inputs} |
| `matchers/N/SET/` | items, labels, strata, and what became of every item{embedded} |
| `matchers/N/compared/` | comparisons: best matches, and every pair from a loose threshold on |
| `matchers/N/scores/` | of a matcher that gives scores: all of them |
| `matchers/N/answers/` | further scores that the statistics asked for: those of pairs of one person above all |
| {naming} |
| `results/` | summary, tables and failures of the run; tables as CSV |{pictures}

Arrays are `.npy` files of float32, int32 or int64 without objects. Nothing in a bundle is executed when it is read.

## What is not in it

{absent}

## Privacy

{privacy}

## Licences

{licences}
"""

HIDDEN = """\
Names of items and persons are numbers, in the order of the names; tables show the pseudonyms of the report. Paths of
inputs are left out, and the hashes of inputs are hashed once more, so that nobody without the inputs can find the key
of the pseudonyms and try out names. Scores, counts, sizes of faces in pixels and groups of people (strata) are shown
as they are. Somebody who has both the matcher and a person's photographs may still learn from scores whether that
person is in a set."""

SHOWN = """\
**Names of items and persons are in this bundle**, and with them the key of the pseudonyms in the report: whoever has
it can undo them."""


def card(about: dict[str, Any], summary: dict[str, Any], members: Sequence[str]) -> str:
    """Return the text of the card.

    Parameters
    ----------
    about : dict
        The description in ``run.json``.
    summary : dict
        Of the run.
    members : sequence of str
        Names of the members.
    """
    holds = about["holds"]
    images = sum(name.startswith("images/") for name in members)
    matchers = [entry["description"] for entry in about["matchers"]]
    if about["thumbnails"]:
        matchers = matchers[:-1]
    return HEAD.format(
        run=about["run"],
        version=about["software"]["idsim"],
        verdict=summary["verdict"]["sentence"],
        software=", ".join(f"{name} {version}" for name, version in about["software"].items() if version),
        matchers="\n".join(map(_matcher, matchers)),
        generators=_generators(summary),
        seed=about["seed"],
        config="" if holds["names"] else ", without the paths of its inputs",
        inputs="hashes of all inputs" if holds["names"] else "hashes of the hashes of all inputs",
        embedded="; **embeddings**" if holds["embeddings"] else "",
        naming=(
            "`names.json`, `provenance.json` | names of items and persons; hashes of inputs as the run has them"
            if holds["names"]
            else "`pseudonyms.json` | the pseudonyms of the report, by number of the name"
        ),
        pictures=f"\n| `images/` | **the files of {images} pictures**, by set and number |" if images else "",
        absent="\n".join(f"- {line}" for line in _absent(holds, images)),
        privacy=_privacy(holds),
        licences=_licences(matchers, about["inputs"]),
    )


def _matcher(matcher: dict[str, Any]) -> str:
    dim = f", {matcher['dim']} numbers" if matcher.get("dim") else ", scores only"
    return f"- Matcher **{matcher['name']}**: {matcher['metric']}{dim}; licence as declared: {matcher['licence']}."


def _synthetic(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the summary says of each synthetic set."""
    if "matchers" in summary:
        return [entry for found in summary["matchers"].values() for entry in _synthetic(found)]
    if "series" in summary:
        return [row["synthetic"] for row in summary["series"]]
    return [summary["sets"]["synthetic"]]


def _generators(summary: dict[str, Any]) -> str:
    known = [entry["generator"] for entry in _synthetic(summary) if "generator" in entry]
    lines = [
        f"- Generator **{found['network']}**, SHA-256 {found['sha256']}, psi {found['psi']}, class {found['class']}, "
        f"seeds {found['seeds']}."
        for found in known
    ]
    return "\n".join(dict.fromkeys(lines)) or "- The synthetic set was given, not drawn by the scan."


def _absent(holds: dict[str, bool], images: int) -> list[str]:
    lines = []
    if not holds["embeddings"]:
        lines.append(
            "No embeddings: what needs them (the manifold, some of the literature's measures, the checks of impostor "
            "scores) is taken from the bundled summary and listed as taken."
        )
    if not images:
        lines.append("No pictures.")
    if holds["images"]:
        lines.append(
            "No pictures that a generator drew while the scan ran: its file and the seeds draw them again."
        )
    if not holds["names"]:
        lines.append("No names of files or persons, and no paths.")
    return [*lines, "No file of a matcher or generator."]


def _privacy(holds: dict[str, bool]) -> str:
    parts = [SHOWN if holds["names"] else HIDDEN]
    if holds["embeddings"] or holds["images"]:
        what = " and ".join(name for name in ("embeddings", "images") if holds[name])
        parts.append(f"**This bundle holds {what}.** {BIOMETRIC} Share it with nobody who may not have them.")
    return "\n\n".join(parts)


def _licences(matchers: list[dict[str, Any]], inputs: dict[str, Any]) -> str:
    lines = [f"- Matcher {matcher['name']}: {matcher['licence']}" for matcher in matchers]
    for entry in inputs.values():
        for drawn in entry["synthetic"].values():
            if isinstance(drawn, dict) and isinstance(drawn.get("generator"), dict):
                generator = drawn["generator"]
                lines.append(f"- Generator {generator['name']}: {generator['licence']}")
    lines.append("- Pictures and embeddings: those of their sources, which the scan does not know")
    return "\n".join(dict.fromkeys(lines))
