"""Bundles as files: the same bytes for the same run, nothing private in them, and every damage or trick named."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import struct
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

from audit.bundle_makers import embeddings, pictures, quick
from audit.test_scan_pictures import GridMatcher, use
from idsim.audit.bundling.archive import MANIFEST, BundleArchive, write_archive
from idsim.audit.bundling.packing import pack
from idsim.audit.bundling.reading import read_run
from idsim.audit.bundling.replicating import replicate
from idsim.audit.reopening import open_run
from idsim.audit.run import scan
from idsim.cli.main import app
from idsim.errors import BundleError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of pictures, with what would give its people away."""
    folder = tmp_path_factory.mktemp("canary-folder") / "data"
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        use(patch, GridMatcher())
        yield scan(pictures(folder, 'images = "synthetic"')).folder


@pytest.fixture(scope="module")
def bundle(run):
    """Its bundle."""
    pack(run, run.parent / "a.idsim.zip")
    return run.parent / "a.idsim.zip"


def members_of(file):
    with zipfile.ZipFile(file) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def rewritten(path, members, kind=zipfile.ZIP_DEFLATED):
    """A zip with these members, whatever its manifest says of them."""
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def opened(path):
    """Everything of a bundle read, as a replication reads it before it computes."""
    bundle = BundleArchive(path)
    bundle.check()
    run = read_run(bundle)
    for matcher in [*run.matchers, *([run.copies] if run.copies else [])]:
        for variant in matcher.work.series:
            matcher.answers(variant)
            for pair, _ in matcher.levels:
                matcher.compared(pair, variant)
    return run


def resealed(path, bundle, changes):
    """The bundle of somebody who changes members and writes the manifest anew."""
    members = {name: data for name, data in members_of(bundle).items() if name != MANIFEST}
    for name, change in changes.items():
        members[name] = change(members[name])
    write_archive(path, members)
    return path


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


# --- bytes ----------------------------------------------------------------------------------------


def test_the_same_run_gives_the_same_bytes(run, bundle, tmp_path):
    pack(run, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == sorted(info.filename for info in infos)
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    manifest = json.loads(members_of(bundle)[MANIFEST])
    assert manifest["schema"] == 1
    assert {entry["file"]: entry["sha256"] for entry in manifest["members"]} == {
        name: hashlib.sha256(data).hexdigest()
        for name, data in members_of(bundle).items()
        if name != MANIFEST
    }


def test_what_would_shrink_too_far_is_stored_and_read_again(tmp_path):
    write_archive(tmp_path / "a.zip", {"zeros": b"\0" * (4 << 20), "few": b"\0" * 1000})
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        kinds = {info.filename: info.compress_type for info in archive.infolist()}
    assert (kinds["zeros"], kinds["few"]) == (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    assert BundleArchive(tmp_path / "a.zip").read("zeros") == b"\0" * (4 << 20)


def test_the_card_says_what_a_reader_must_know(bundle):
    text = members_of(bundle)["README.md"].decode()
    summary = json.loads(members_of(bundle)["results/summary.json"])
    assert summary["verdict"]["sentence"] in text
    for part in (
        "idsim scan --from-bundle",
        "licence as declared: none",
        "No embeddings",
        "No pictures",
        "Privacy",
    ):
        assert part in text


# --- privacy --------------------------------------------------------------------------------------


def canaries(run):
    """Bytes that no default bundle may hold: names, paths, hashes of files, embeddings and thumbnails."""
    found = {b"canary": "a name or path"}
    inputs = json.loads((run / "provenance.json").read_bytes())["inputs"]
    found |= {entry["sha256"].encode(): "the hash of an input" for entry in inputs.values()}
    with open_run(run) as again:
        works = [*again.works, again.copies]
        faces = [part.faces() for work in works for part in (*work.real.values(), *work.series.values())]
    for one in faces:
        found |= {
            record["sha256"].encode(): "the hash of a file" for record in one.records if record["sha256"]
        }
        for row in one.vectors:
            start = row.tobytes()[:16]
            for form in (start, start.hex().encode(), base64.b64encode(start)[:20]):
                found[form] = "an embedding"
    return found


def test_a_default_bundle_names_nobody_and_holds_no_biometrics(run, bundle):
    wanted = canaries(run)
    assert len(wanted) > 100
    key = hashlib.sha256((run / "provenance.json").read_bytes()).digest()
    for name, data in [("the archive", bundle.read_bytes()), *members_of(bundle).items()]:
        for canary, what in wanted.items():
            assert canary not in data, f"{name} holds {what}: {canary!r}"
        assert key not in data
        assert key.hex().encode() not in data


def test_the_canaries_are_found_where_they_are_asked_for(run, tmp_path):
    pack(run, tmp_path / "all.zip", names=True, embeddings=True, images=True)
    whole = b"".join(members_of(tmp_path / "all.zip").values())
    found = {what for canary, what in canaries(run).items() if canary in whole}
    assert found == {"a name or path", "the hash of an input", "an embedding", "the hash of a file"}


# --- damage ---------------------------------------------------------------------------------------


def test_every_member_that_is_changed_cut_or_gone_is_named(bundle, tmp_path):
    members = members_of(bundle)
    assert len(members) > 40
    for name, data in members.items():
        if name == MANIFEST:
            continue
        for changed in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1]):
            with pytest.raises(
                BundleError, match="SHA-256 is not the one|bytes, and the manifest says"
            ) as found:
                opened(rewritten(tmp_path / "b.zip", members | {name: changed}, zipfile.ZIP_STORED))
            assert found.value.place == name
        others = {key: value for key, value in members.items() if key != name}
        with pytest.raises(BundleError, match="the manifest lists it, and it is not there") as found:
            opened(rewritten(tmp_path / "b.zip", others, zipfile.ZIP_STORED))
        assert found.value.place == name


def test_a_changed_manifest_is_named(bundle, tmp_path):
    members = members_of(bundle)
    text = members[MANIFEST].decode()
    cases = {
        text.replace('"schema": 1', '"schema": 2'): "schema 2 is not known: this version reads schema 1",
        text.replace("idsim replication bundle", "another thing"): "its kind is 'another thing'",
        text.replace('"bytes": ', '"bytes": 1', 1): "its text is not the one that was hashed",
        text[:-20]: "not the JSON that is expected",
        "[]": "not an object",
    }
    for changed, reason in cases.items():
        with pytest.raises(BundleError, match=reason) as found:
            BundleArchive(rewritten(tmp_path / "b.zip", members | {MANIFEST: changed.encode()}))
        assert found.value.place == MANIFEST
    with pytest.raises(BundleError, match="no replication bundle"):
        BundleArchive(rewritten(tmp_path / "b.zip", {"a.png": b"x"}))


def test_a_bundle_cut_anywhere_is_refused(bundle, tmp_path):
    data = bundle.read_bytes()
    for size in (0, 10, len(data) // 3, len(data) // 2, len(data) - 30, len(data) - 1):
        (tmp_path / "b.zip").write_bytes(data[:size])
        with pytest.raises(BundleError):
            opened(tmp_path / "b.zip")


def test_a_bit_turned_in_the_archive_never_passes(bundle, tmp_path):
    data = bundle.read_bytes()
    expected = members_of(bundle)
    for place in np.random.default_rng(0).integers(0, len(data), 60).tolist():
        (tmp_path / "b.zip").write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        try:
            archive = BundleArchive(tmp_path / "b.zip")
            found = {name: archive.read(name) for name in archive.entries}
        except BundleError:
            continue
        assert found == {name: content for name, content in expected.items() if name != MANIFEST}


# --- tricks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../a", "/etc/a", "results/../../a", "a\\b", "C:a"])
def test_names_that_leave_their_folder_are_refused(bundle, tmp_path, name):
    with pytest.raises(BundleError, match="leaves the folder"):
        opened(rewritten(tmp_path / "b.zip", members_of(bundle) | {name: b"x"}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_links_doubles_strangers_and_bombs_are_refused(bundle, tmp_path):
    members = members_of(bundle)
    link = zipfile.ZipInfo("results/summary.json")
    link.external_attr = 0o120777 << 16
    kept = [(name, data) for name, data in members.items() if name != "results/summary.json"]
    cases = {
        "symbolic link": [*kept, (link, "/etc/passwd")],
        "there twice": [*members.items(), ("run.json", b"{}")],
        "the manifest does not list it": [*members.items(), ("results/other.csv", b"x")],
    }
    for reason, listed in cases.items():
        with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
            for name, data in listed:
                archive.writestr(name, data)
        with pytest.raises(BundleError, match=reason):
            opened(tmp_path / "b.zip")
    bomb = zipfile.ZipInfo("bomb")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(bomb, b"\0" * 100)
    data = bytearray((tmp_path / "b.zip").read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = struct.pack("<I", 0xF0000000)
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(BundleError, match="announces"):
        opened(tmp_path / "b.zip")


def test_a_link_to_a_bundle_is_not_followed(bundle, tmp_path):
    (tmp_path / "b.zip").symlink_to(bundle)
    with pytest.raises(OSError, match="symbolic link"):
        BundleArchive(tmp_path / "b.zip")


def edited(change):
    """What changes a JSON member."""

    def apply(data):
        content = json.loads(data)
        change(content)
        return json.dumps(content).encode()

    return apply


def of_matcher(key, value):
    return edited(lambda content: content["matchers"][0].update({key: value}))


SET = "matchers/0/training"
TRICKS = {
    "pickled": (f"{SET}/rows.npy", lambda _: npy(np.array([{}], object)), "must be an array of"),
    "an archive": (f"{SET}/rows.npy", lambda data: b"PK\x03\x04" + data, "no .npy array"),
    "floats": (f"{SET}/rows.npy", lambda _: npy(np.zeros(14)), "must be an array of <i4 or <i8"),
    "huge": (
        f"{SET}/rows.npy",
        lambda _: npy(np.zeros(14, np.int32)).replace(b"(14,)", b"(9**9,)"),
        "no .npy array|announces",
    ),
    "announced": (
        f"{SET}/rows.npy",
        lambda _: npy(np.zeros(10, np.int32)).replace(b"(10,)", b"(99,)"),
        "announces another number of bytes",
    ),
    "far items": (f"{SET}/items.npy", lambda _: npy(np.full(14, 10**6, np.int32)), "must be from 0 to"),
    "same items": (f"{SET}/items.npy", lambda _: npy(np.zeros(14, np.int32)), "an item is there twice"),
    "other rows": (f"{SET}/rows.npy", lambda _: npy(np.arange(13, dtype=np.int32)), "whose status is ok"),
    "other set": (
        f"{SET}/set.json",
        edited(lambda content: content.update(name="probes")),
        "called training",
    ),
    "bad record": (
        f"{SET}/set.json",
        edited(lambda content: content["records"][0].update(status="fine")),
        "records are not of this format",
    ),
    "bad ids": (
        "matchers/0/compared/SxT-0/ids.npy",
        lambda _: npy(np.full((15, 5), 99, np.int32)),
        "shape|from -1",
    ),
    "path of a set": ("run.json", of_matcher("synthetic", ["../../x"]), "names that folders may have"),
    "no label": ("run.json", of_matcher("label", "x"), "its matchers are not those"),
    "bad metric": (
        "run.json",
        edited(lambda content: content["matchers"][0]["description"].update(metric="dot")),
        "its metric is 'dot'",
    ),
    "bad level": (
        "run.json",
        edited(lambda content: content["matchers"][0]["compared"][0].update(level="nan")),
        "'nan' is no number",
    ),
    "bad pair": (
        "run.json",
        edited(lambda content: content["matchers"][0]["compared"][0].update(pair="XxY")),
        "no comparison 'XxY'",
    ),
    "bad answer": (
        "run.json",
        edited(lambda content: content["matchers"][0]["answers"][0].update(question=["eval"])),
        "an answer is not of this format",
    ),
    "markup": (
        "pseudonyms.json",
        edited(lambda content: content["training"]["pseudonyms"].__setitem__(0, "<b>")),
        "'training' is not of this format",
    ),
    "endless": (
        "config.toml",
        lambda data: data.replace(b"bootstrap = 100\n", b"bootstrap = 2000000000\n"),
        "above 1000000",
    ),
    "no scan": ("config.toml", lambda _: b"[run]\n", "the set .synthetic. is missing"),
    "no toml": ("config.toml", lambda _: b"\xff", "decode"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_what_no_honest_bundle_holds_is_named(bundle, tmp_path, trick):
    name, change, reason = TRICKS[trick]
    with pytest.raises(BundleError, match=reason) as found:
        opened(resealed(tmp_path / "b.zip", bundle, {name: change}))
    assert found.value.place == name


def test_numbers_that_were_changed_with_their_hashes_do_not_come_out_again(bundle, tmp_path):
    def better(content):
        content["operating_points"][0]["excess_leak_rate"]["rate"] = 0.0

    file = resealed(tmp_path / "b.zip", bundle, {"results/summary.json": edited(better)})
    (sentence,) = replicate(file).differences
    assert sentence.startswith("summary.json differs: operating_points was [")
    name = "matchers/0/compared/SxT-0/tail-scores.npy"
    lower = resealed(tmp_path / "c.zip", bundle, {name: lambda data: npy(read(data) * np.float32(1.5))})
    assert any("summary.json differs" in sentence for sentence in replicate(lower).differences)


def read(data):
    return np.load(io.BytesIO(data), allow_pickle=False)


# --- the command line -----------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_commands_pack_warn_and_compare(run, bundle, tmp_path):
    done = invoke("bundle", run, "-o", tmp_path / "a.zip", "--with", "embeddings", "--with", "images")
    assert done.exit_code == 0
    assert "embeddings and images go into the bundle" in done.stderr
    assert "biometric data" in done.stderr
    assert "with embeddings and images" in done.stdout
    done = invoke("scan", "--from-bundle", bundle, "-o", tmp_path / "out")
    assert done.exit_code == 0
    assert "The same: 6 files, byte for byte." in done.stdout
    assert "summary.json: analysis.manifold" in done.stdout
    changed = resealed(tmp_path / "b.zip", bundle, {"results/pairs.csv": lambda data: data + b"x\n"})
    done = invoke("scan", "--from-bundle", changed, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["differences"] == ["pairs.csv differs"]


def test_bad_usage_says_what_to_do(run, bundle, tmp_path):
    for arguments, reason in {
        ("scan",): "give the TOML file",
        ("scan", "x.toml", "--from-bundle", bundle): "brings its own scan",
        ("scan", "x.toml", "-o", tmp_path / "out"): "belong to --from-bundle",
        ("scan", "--from-bundle", bundle, "--matcher", "grid=x.onnx"): "no pictures to embed",
        ("bundle", tmp_path): "no finished run",
    }.items():
        with pytest.raises(ValueError, match=reason):
            app([str(argument) for argument in arguments], standalone_mode=False)


def test_an_unfinished_run_is_told_as_other_commands_tell_it(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    next((tmp_path / "run" / "compare").rglob("*.bin")).unlink()
    done = invoke("bundle", tmp_path / "run", "-o", tmp_path / "a.zip")
    assert done.exit_code == 4
    assert "the same command or idsim merge goes on" in done.stderr
    assert not (tmp_path / "a.zip").exists()


def test_changed_inputs_are_named(tmp_path, monkeypatch):
    quick(monkeypatch)
    run = scan(embeddings(tmp_path / "data")).folder
    table = tmp_path / "data" / "holdout.parquet"
    shutil.copy(tmp_path / "data" / "training.parquet", table)
    with pytest.raises(ValueError, match="inputs.holdout.sha256 was"):
        pack(run, tmp_path / "a.zip")
