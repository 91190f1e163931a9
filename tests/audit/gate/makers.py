"""Runs with and without planted leaks, and policies to gate them with."""

from __future__ import annotations

from datetime import date

from idsim.audit.policy.gating import gate
from idsim.audit.policy.policy import policy_of
from idsim.audit.proving.made_up import Population, make_population, write_population
from idsim.audit.run import scan

TODAY = date(2026, 12, 1)


def made_run(folder, leaks):
    config = write_population(
        make_population(Population(persons=120, clusters=90, leaks=leaks, dim=48)), folder
    )
    text = config.read_text().replace("fpir = [0.01]", "fpir = [0.05, 0.0001]")
    text = text.replace("fmr = [1e-5]", "fmr = [0.01, 0.0006]\nthresholds = [0.6]")
    config.write_text(text + "\n[statistics]\nbootstrap = 300\npermutations = 999\n")
    return scan(config).folder


def outcome(summary, today=TODAY, **rules):
    return gate(summary, policy_of({"gate": rules}), today)


def finding(check="hubs", severity="error", sentence="One image takes 40 % of the hits."):
    return {"check": check, "severity": severity, "sentence": sentence, "numbers": {}}


def allowed(**changes):
    return {"check": "hubs", "reason": "looked at by hand", "expires": date(2027, 1, 31)} | changes


def of_matchers(**summaries):
    return {"schema_version": 1, "run": "r", "matchers": summaries, "checks": []}
