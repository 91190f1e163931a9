"""One person's question to a finished scan."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from idsim.audit.proving.made_up import Population, make_population, write_population
from idsim.cli.main import app

POPULATION = Population(persons=120, clusters=90, leaks=18, dim=48)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("person") / "data"
    config = write_population(make_population(POPULATION), folder)
    text = (
        config.read_text().replace("fpir = [0.01]", "fpir = [0.05]").replace("fmr = [1e-5]", "fmr = [1e-3]")
    )
    config.write_text(text + "\n[statistics]\nbootstrap = 200\npermutations = 199\n")
    assert CliRunner().invoke(app, ["scan", str(config)]).exit_code == 0
    return folder / "run"


def ask(run, *arguments):
    done = CliRunner().invoke(app, ["scan", "person", str(run), *map(str, arguments), "--json"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout)


def victims():
    """Persons of the training set that a leaked cluster was made from, and one that none was."""
    made = make_population(POPULATION)
    leaked = made.vectors["synthetic"][np.isin(made.labels["synthetic"], made.leaked)]
    best = (leaked @ made.vectors["training"].T).max(axis=0).reshape(-1, 2).max(axis=1)
    return int(best.argmax()), int(best.argmin())


def test_a_reproduced_person_is_told_by_which_images(run):
    victim, _ = victims()
    (answer,) = ask(run, "--id", f"training-{victim}", "--count", 3)
    assert answer["set"] == "training"
    assert answer["images"] == 2
    assert answer["points"][0]["clusters"] == 1
    assert answer["p_value"] == pytest.approx(1 / 121)
    assert answer["sentence"].startswith("Reproduced at fpir=0.05: ")
    assert all(match["image"].startswith("S-") for match in answer["matches"])
    (named,) = ask(run, "--id", f"training-{victim}", "--count", 3, "--names")
    made = make_population(POPULATION)
    assert made.labels["synthetic"][int(named["matches"][0]["image"])] in made.leaked


def test_a_person_whom_nobody_resembles_is_not_acquitted(run):
    _, other = victims()
    (answer,) = ask(run, "--id", f"training-{other}")
    assert answer["points"][0]["images"] == 0
    assert answer["p_value"] > 0.02
    assert "does not prove privacy" in answer["sentence"]


def test_people_are_found_by_image_pseudonym_and_embedding(run, tmp_path):
    victim, _ = victims()
    (expected,) = ask(run, "--id", f"training-{victim}")
    (by_image,) = ask(run, "--id", str(2 * victim))
    summary = json.loads((run / "summary.json").read_bytes())
    (by_pseudonym,) = ask(run, "--id", summary["top_pairs"][0]["training_person"])
    made = make_population(POPULATION)
    np.save(tmp_path / "me.npy", made.vectors["training"][2 * victim : 2 * victim + 2])
    (by_vector,) = ask(run, "--embedding", tmp_path / "me.npy")
    assert by_image == expected
    assert by_pseudonym["best_score"] == pytest.approx(summary["top_pairs"][0]["score"])
    assert by_vector == expected | {"set": None}


def test_people_of_the_holdout_are_the_measure_themselves(run):
    (answer,) = ask(run, "--id", "holdout-3")
    assert answer["p_value"] is None
    assert answer["set"] == "holdout"


def test_questions_that_cannot_be_answered_are_refused(run, tmp_path):
    np.save(tmp_path / "short.npy", np.ones(5))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    for arguments, words in (
        (("--id", "nobody"), "knows nobody called 'nobody'"),
        ((), "by one of them only"),
        (("--id", "x", "--embedding", "y"), "by one of them only"),
        (("--embedding", tmp_path / "short.npy"), "48 finite numbers"),
        (("--embedding", tmp_path / "text.npy"), "must hold numbers"),
        (("--image", tmp_path / "a.jpg"), "needs a matcher of pictures"),
        (("--id", "x", "--matcher", "other"), "has no matcher 'other'"),
    ):
        with pytest.raises(ValueError, match=words):
            ask(run, *arguments)
    with pytest.raises(ValueError, match="no finished run"):
        ask(tmp_path, "--id", "x")


def test_inputs_that_changed_are_named(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.parent, copy)
    np.save(copy / "training.npy", np.load(copy / "training.npy")[::-1])
    origin = {"config": str(copy / "scan.toml")}
    (copy / "run" / "origin.json").write_text(json.dumps(origin))
    with pytest.raises(ValueError, match=r"inputs\.training\.sha256"):
        ask(copy / "run", "--id", "training-3")
