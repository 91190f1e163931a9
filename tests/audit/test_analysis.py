"""What a scan reports beyond the leak rates: on embeddings, with probes, on pictures, on scores."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from audit.test_scan_pictures import GridMatcher, use
from idsim.audit.proving.made_up import Population, make_population, write_population
from idsim.audit.run import scan

POPULATION = Population(persons=400, clusters=300, leaks=30, dim=64)
LINES = """
[statistics]
bootstrap = 200
permutations = 499
"""


def write(folder, population=POPULATION, more=""):
    config = write_population(make_population(population), folder)
    text = (
        config.read_text().replace("fpir = [0.01]", "fpir = [0.02]").replace("fmr = [1e-5]", "fmr = [1e-4]")
    )
    config.write_text(text + LINES + more)
    return config


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return scan(write(tmp_path_factory.mktemp("analysis") / "data"))


def numbers(value):
    """Yield every number of plain JSON values."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from numbers(entry)
    elif isinstance(value, float):
        yield value


def test_the_summary_is_valid_json_without_infinities(found):
    text = (found.folder / "summary.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert all(math.isfinite(number) for number in numbers(json.loads(text)))


def test_membership_is_told_by_density_and_by_the_number_of_images(found):
    analysis = found.summary["analysis"]
    assert analysis["density_ratio"]["reference"] == "half of the holdout"
    assert analysis["density_ratio"]["non_members"] == 200
    points = analysis["membership_by_images"]["points"]
    assert [point["clusters"] for point in points] == [37, 75, 150, 300]
    assert points[-1]["auc"]["value"] == analysis["membership"]["auc"]["value"]
    kept = found.summary["calibration"]["analysis"]["separation"]
    assert kept["auc"]["value"] > 0.99
    assert kept["eer"]["value"] < 0.05


def test_leaks_show_in_every_analysis(found):
    analysis = found.summary["analysis"]
    assert analysis["exposure"]["excess"]["low"] > 0
    assert analysis["exposure"]["excess"]["permutation_p"] <= 0.01
    assert analysis["closeness"]["margin"]["interval"]["low"] > 0
    best, largest, exposed = (test["p"] for test in analysis["tests"]["permutation"])
    assert max(best, largest, exposed) <= 0.05
    lifts = [entry for entry in analysis["tail_lift_curve"]["at_false_match_rates"] if not entry["refused"]]
    assert lifts
    assert lifts[-1]["low"] > 1
    assert analysis["power"]["smallest_detectable_excess"] < 0.1
    assert analysis["by_gallery_size"]["training"]["leak_rate"]["rates"][-1]["persons"] == 400
    assert analysis["literature"]["data_copying"]["statistic"]["value"] < 0
    assert len(analysis["nearest_pairs"]) == 100


def test_without_leaks_nothing_is_claimed(tmp_path):
    clean = Population(persons=400, clusters=300, leaks=0, dim=64)
    analysis = scan(write(tmp_path / "data", clean)).summary["analysis"]
    assert analysis["exposure"]["excess"]["low"] <= 0
    assert analysis["membership"]["auc"]["low"] < 0.5
    assert analysis["identities"]["real_probes"]["rejections"] == 0
    assert all(test["p"] > 0.01 for test in analysis["tests"]["permutation"])


def test_persons_have_a_table_with_the_leaked_ones_on_top(found):
    rows = pq.read_table(found.folder / "persons.parquet").to_pylist()
    assert len(rows) == 400
    made = make_population(POPULATION)
    leaked = made.vectors["synthetic"][np.isin(made.labels["synthetic"], made.leaked)]
    victims = (leaked @ made.vectors["training"].T).max(axis=0).reshape(-1, 2).max(axis=1)
    nearest = {f"training-{person}" for person in np.argsort(-victims)[:20]}
    top = sorted(rows, key=lambda row: -row["best_score"])[:20]
    assert len(nearest & {row["person"] for row in top}) >= 18
    assert all(row["pseudonym"].startswith("T-") for row in rows)


def test_calibration_says_what_it_rests_on(found):
    analysis = found.summary["calibration"]["analysis"]
    assert analysis["contamination"]["rule"]
    assert analysis["fmr_bootstrap"]["persons"] == 400
    assert analysis["best_match_growth"]["per_doubling"]["value"] > 0
    assert "extrapolation" not in analysis


def test_thresholds_are_extrapolated_when_asked(tmp_path):
    config = write(tmp_path / "data")
    config.write_text(
        config.read_text().replace("fpir = [0.02]", "fpir = [0.02]\nextrapolate = [1e-6, 1e-9]")
    )
    near, far = scan(config).summary["calibration"]["analysis"]["extrapolation"]["thresholds"]
    assert near["threshold"] > 0.4
    assert "decades below" in far["refused"]


def test_probes_tell_the_bias_of_the_matcher(tmp_path):
    config = write(tmp_path / "data")
    probes = make_population(Population(persons=300, clusters=1, leaks=0, dim=64, seed=5)).vectors["holdout"]
    np.save(config.parent / "probes.npy", probes)
    config.write_text(config.read_text() + '[probes]\nembeddings = "probes.npy"\n')
    analysis = scan(config).summary["analysis"]
    found = analysis["difference_in_differences"]
    assert found["low"] > 0
    assert abs(found["excess_probes"]["rate"]) < 0.05
    assert analysis["identities"]["real_probes"]["calibration"] == "probes"
    assert analysis["density_ratio"]["reference"] == "probes"


def test_analyses_can_be_left_out(tmp_path):
    config = write(tmp_path / "data", more='[analysis]\nliterature = "no"\nmanifold = "no"\n')
    config.write_text(config.read_text() + '[comparisons]\nsets = ["SxT", "SxH", "HxH"]\n')
    analysis = scan(config).summary["analysis"]
    assert analysis["literature"]["refused_others"] == "[analysis] literature is 'no'"
    assert analysis["manifold"]["refused"] == "[analysis] manifold is 'no'"
    assert "not compared" in analysis["membership"]["refused"]
    assert "not all pairs" in analysis["repetition"]["refused"]


def test_near_copies_are_told_from_look_alikes(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr("idsim.audit.persons.thumbnails.COPY_SHARE", 0.05)
    pictures = {
        name: np.kron(rng.integers(1, 256, (80, 16, 16, 3)), np.ones((1, 2, 2, 1))).astype(np.uint8)
        for name in ("synthetic", "training", "holdout")
    }
    # Fainter copies of photographs of the training set.
    pictures["synthetic"][:20] = np.clip(pictures["training"][:20] * 0.8 + 20, 1, 255).astype(np.uint8)
    for name, stack in pictures.items():
        (tmp_path / name).mkdir()
        for number, pixels in enumerate(stack):
            Image.fromarray(pixels).save(tmp_path / name / f"{number:02d}.png")
    analysis = copied(tmp_path, monkeypatch)
    copies = analysis["near_copies"]
    assert (
        20 <= copies["training"]["images"] <= 32
    )  # 5 % of others look like copies, by the choice of the threshold
    assert copies["holdout"]["images"] <= 12
    assert copies["excess"]["low"] > 0


def test_mirror_images_of_one_picture_are_one_near_copy(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr("idsim.audit.persons.thumbnails.COPY_SHARE", 0.05)
    half = rng.integers(1, 256, (3, 80, 16, 8, 3))
    for name, stack in zip(
        ("synthetic", "training", "holdout"), np.concatenate([half, half[:, :, :, ::-1]], 3), strict=True
    ):
        (tmp_path / name).mkdir()
        for number, pixels in enumerate(stack):  # every picture is its own mirror image
            Image.fromarray(np.kron(pixels, np.ones((2, 2, 1))).astype(np.uint8)).save(
                tmp_path / name / f"{number:02d}.png"
            )
    for number in range(20):
        Image.open(tmp_path / "training" / f"{number:02d}.png").save(
            tmp_path / "synthetic" / f"{number:02d}.png"
        )
    found = [copied(tmp_path, monkeypatch, more)["near_copies"] for more in ("", "mirrored = true\n")]
    assert found[1]["training"]["pairs"] == found[0]["training"]["pairs"]
    assert found[1]["training"]["images"] == found[0]["training"]["images"] >= 20


def copied(folder, monkeypatch, more=""):
    use(monkeypatch, GridMatcher())
    names = {"synthetic": "", "training": more, "holdout": more}
    sets = "".join(f'[{name}]\nimages = "{name}"\n{line}' for name, line in names.items())
    (folder / "scan.toml").write_text(
        f'[run]\nname = "run{len(more)}"\ndir = "."\n{sets}[calibration]\nfpir = [0.1]\nfmr = [0.01]\n{LINES}'
    )
    return scan(folder / "scan.toml").summary["analysis"]
