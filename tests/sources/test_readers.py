"""Every kind of source on files made here: names, identities, contents; and damaged files, refused by name."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import zipfile

import numpy as np
import pytest
from PIL import Image

from idsim.errors import SourceError
from idsim.sources import open_images
from support.records import MAGIC, insightface_records, write_records


def png(seed=0, side=8):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def save(root, contents):
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def read_all(source):
    return [source.read(number) for number in range(len(source))]


def test_a_folder_per_identity(tmp_path):
    save(tmp_path, {"bob/1.png": png(1), "ann/2.jpg": png(2), "ann/x/1.png": png(3), "ann/notes.txt": b""})
    source = open_images(tmp_path)
    assert source.kind == "folder"
    assert source.items == ["ann/2.jpg", "ann/x/1.png", "bob/1.png"]
    assert source.identities == ["ann", "ann", "bob"]
    assert source.skipped == [("ann/notes.txt", "its name has no suffix of a picture")]
    assert read_all(source) == [png(2), png(3), png(1)]


def test_a_flat_folder_has_no_identities(tmp_path):
    source = open_images(save(tmp_path, {"1.png": png(1), "2.png": png(2)}))
    assert (source.items, source.identities) == (["1.png", "2.png"], None)


def ffhq(root, landmarks=True):
    numbers = (0, 1, 59_999, 60_000, 69_999)
    save(root, {f"images1024x1024/{n // 1000 * 1000:05d}/{n:05d}.png": png(n) for n in numbers})
    if landmarks:
        points = [[float(x), 2.0 * x] for x in range(68)]
        described = {str(n): {"image": {"face_landmarks": points}, "category": "training"} for n in numbers}
        (root / "ffhq-dataset-v2.json").write_text(json.dumps(described))
    return root


def test_ffhq_its_split_and_its_landmarks(tmp_path):
    root = ffhq(tmp_path)
    source = open_images(root)
    assert source.kind == "ffhq"
    assert source.items[0] == "00000/00000.png"
    assert len(source) == 5
    training, validation = (open_images(root, split=split) for split in ("training", "validation"))
    assert [item[-9:-4] for item in training.items] == ["00000", "00001", "59999"]
    assert [item[-9:-4] for item in validation.items] == ["60000", "69999"]
    assert read_all(validation) == [png(60_000), png(69_999)]
    np.testing.assert_array_equal(validation.landmarks(1)[:, 1], 2.0 * np.arange(68, dtype=np.float32))
    assert source.identities is None
    (root / "ffhq-dataset-v2.json").write_text('{"0": {"image": {"face_landmarks": [[1, 2]]}}}')
    with pytest.raises(SourceError, match=r"face_landmarks are \[1, 2\]"):
        open_images(root).landmarks(0)
    (root / "ffhq-dataset-v2.json").unlink()
    assert open_images(root).landmarks(0) is None


def test_ffhq_refuses_other_names(tmp_path):
    save(ffhq(tmp_path), {"images1024x1024/00000/me.png": png()})
    with pytest.raises(SourceError, match="called by their numbers"):
        open_images(tmp_path)
    with pytest.raises(ValueError, match="only FFHQ has a split"):
        open_images(tmp_path / "images1024x1024" / "00000", split="training")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("labels", "identities"),
    [
        (None, None),
        ([["00000/b.png", 7], ["00000/a.png", 3]], ["3", "7"]),
        ([["00000/a.png", [0, 0, 1]], ["00000/b.png", [1, 0, 0]]], ["2", "0"]),
        ({"00000/a.png": 1, "00000/b.png": [0.5, 0.5], "gone.png": 1}, ["1", "[0.5, 0.5]"]),
    ],
)
def test_data_sets_of_stylegan2(tmp_path, packed, labels, identities):
    contents = {
        "00000/a.png": png(1),
        "00000/b.png": png(2),
        "dataset.json": json.dumps({"labels": labels}).encode(),
    }
    place = tmp_path / "set.zip" if packed else tmp_path
    if packed:
        with zipfile.ZipFile(place, "w") as archive:
            for name, data in contents.items():
                archive.writestr(name, data)
    else:
        save(place, contents)
    source = open_images(place)
    assert source.kind == "dataset"
    assert (source.items, source.identities) == (["00000/a.png", "00000/b.png"], identities)
    assert read_all(source) == [png(1), png(2)]
    gone = [("gone.png", "dataset.json labels it, and there is no such picture")]
    assert source.skipped == (gone if isinstance(labels, dict) else [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "no JSON"),
        ("[]", "no JSON object"),
        ('{"labels": 3}', "no list"),
        ('{"labels": [["a.png"]]}', "not a name and a label"),
        ('{"labels": [["b.png", 1]]}', "no label for 'a.png'"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_damaged_labels_are_refused(tmp_path, text, reason):
    save(tmp_path, {"a.png": png(), "dataset.json": text.encode()})
    with pytest.raises(SourceError, match=reason):
        open_images(tmp_path)


def jpegs(count):
    """Contents with the magic number at every kind of place, among them right at their start and end."""
    magic = MAGIC.to_bytes(4, "little")
    tails = (b"", magic, magic + magic, b"x" + magic, magic + b"tail", b"ab" + magic + b"cd" + magic)
    return [magic * (number % 2) + png(number) + tails[number % len(tails)] for number in range(count)]


@pytest.mark.parametrize("insightface", [True, False])
def test_record_files(tmp_path, insightface):
    contents = jpegs(12)
    people = [number // 3 for number in range(12)]
    images = list(zip(people, contents, strict=True))
    if insightface:
        records = list(insightface_records(images))
    else:
        records = [
            (key, (float(who), 5.0) if key % 2 else float(who), data)
            for key, (who, data) in enumerate(images)
        ]
        records.reverse()  # their order in the file does not matter
    assert write_records(tmp_path / "train.rec", records) > 0
    for place in (tmp_path, tmp_path / "train.rec"):
        source = open_images(place)
        assert source.kind == "recordio"
        first = 1 if insightface else 0
        assert source.items == [f"{number + first:08d}" for number in range(12)]
        assert source.identities == [str(who) for who in people]
        assert read_all(source) == contents


def test_damaged_record_files(tmp_path):
    path = tmp_path / "train.rec"
    write_records(path, [(key, float(key), png(key)) for key in range(4)])
    whole, index = path.read_bytes(), path.with_suffix(".idx").read_text()
    path.write_bytes(whole[:-50])
    source = open_images(path)
    assert source.read(0) == png(0)
    with pytest.raises(OSError, match="bytes are expected here"):
        source.read(3)
    path.write_bytes(b"\0" * 8 + whole[8:])
    with pytest.raises(SourceError, match="there is no record"):
        open_images(path)  # what stands under key 0 says which flavour the file is of
    path.write_bytes(whole)
    for text, reason in (
        (index + "4\t999999\n", "key 4: its offset is outside"),
        (index + "3\t0\n", "different numbers"),
        (index + "5\n", "no list of keys"),
        ("a\tb\n", "no list of keys"),
        (f"{10**30}\t0\n", "no list of keys"),
    ):
        path.with_suffix(".idx").write_text(text)
        with pytest.raises(SourceError, match=reason):
            open_images(path)
    path.with_suffix(".idx").unlink()
    with pytest.raises(SourceError, match="No such file"):
        open_images(path)


def test_every_single_byte_of_a_record_file_may_be_wrong(tmp_path):
    path = tmp_path / "train.rec"
    write_records(path, list(insightface_records([(0, b"abc" * 5), (1, b"de"), (1, b"")])))
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            source = open_images(path)
        except (SourceError, ValueError):
            continue
        for number in range(len(source)):
            try:
                source.read(number)
            except OSError:
                continue


def python2_pickle(value):
    """What Python 2 writes: its texts are bytes."""
    pictures, same = value
    out = b"\x80\x02]("
    for data in pictures:
        out += (
            b"T" + len(data).to_bytes(4, "little") + data
            if len(data) > 255
            else b"U" + bytes([len(data)]) + data
        )
    return out + b"e](" + b"".join(b"\x88" if truth else b"\x89" for truth in same) + b"e\x86."


@pytest.mark.parametrize("protocol", ["python 2", 2, 3, 4, 5])
def test_verification_sets(tmp_path, protocol):
    pictures, same = [png(1), png(2), png(3), b"tiny"], [True, False]
    path = tmp_path / "lfw.bin"
    data = (
        python2_pickle((pictures, same))
        if protocol == "python 2"
        else pickle.dumps((pictures, same), protocol)
    )
    path.write_bytes(data)
    source = open_images(path)
    assert source.kind == "bin"
    assert source.items == ["000000", "000001", "000002", "000003"]
    assert read_all(source) == pictures
    assert source.same.tolist() == same


def test_verification_sets_of_arrays(tmp_path):
    pictures = [np.frombuffer(png(seed), np.uint8) for seed in (1, 2)]
    path = tmp_path / "a.bin"
    path.write_bytes(pickle.dumps((pictures, np.array([True])), 4))
    source = open_images(path)
    assert read_all(source) == [png(1), png(2)]
    assert source.same.tolist() == [True]


class Malice:
    def __reduce__(self):
        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Malice(), "posix.system"),
        (([Malice()], [True]), "posix.system"),
        ([], "no pair"),
        (({}, []), "no list of pictures"),
        (([1, 2], [True]), "picture 0: it is not the bytes"),
        (([b"", b""], [2]), "not all True or False"),
        (([b""], [True]), "do not make 1 pairs"),
    ],
)
def test_verification_sets_run_nothing(tmp_path, value, reason):
    path = tmp_path / "a.bin"
    path.write_bytes(pickletools.optimize(pickle.dumps(value, 4)))
    with pytest.raises(SourceError, match=reason):
        open_images(path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_lists(tmp_path, suffix):
    save(tmp_path, {"b/1.png": png(1), "a, 2.png": png(2)})
    rows = [("b/1.png", "Ann"), (str(tmp_path / "a, 2.png"), "Bob")]
    path = tmp_path / f"list{suffix}"
    if suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        pq.write_table(
            pa.table({"Identity": [who for _, who in rows], "file": [place for place, _ in rows]}), path
        )
    else:
        mark = "," if suffix == ".csv" else "\t"
        lines = [f'{who}{mark}"{place}"' for place, who in rows]
        path.write_text("\ufeff" + "\n".join([f"Identity{mark}file", *lines, ""]))
    source = open_images(path)
    assert source.kind == "list"
    assert (source.items, source.identities) == ([place for place, _ in rows], ["Ann", "Bob"])
    assert read_all(source) == [png(1), png(2)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"a,b\n1,2\n", "no column path"),
        (b"path,label\nx\n", "row 0: it has 1 cells"),
        (b"path\nx\nx\n", "'x': two pictures"),
        (b'path\n""\n', "it has no path"),
        (b"path\n\xff\n", "UTF-8"),
        (b'path\n"x\n', "no CSV"),
        (b"", "no column path"),
    ],
)
def test_damaged_lists(tmp_path, text, reason):
    path = tmp_path / "list.csv"
    path.write_bytes(text)
    with pytest.raises(SourceError, match=reason):
        open_images(path)
    path = path.with_suffix(".parquet")
    path.write_bytes(text)
    with pytest.raises(SourceError, match="Parquet cannot be read"):
        open_images(path)


def test_what_is_no_source(tmp_path):
    with pytest.raises(ValueError, match="no JPEG, PNG or WebP"):
        open_images(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match="no source of pictures"):
        open_images(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="must be one of folder"):
        open_images(tmp_path, "tar")
    with pytest.raises(OSError, match="missing"):
        open_images(tmp_path / "missing")
    os.mkfifo(tmp_path / "a.bin")
    with pytest.raises(SourceError, match="not a regular file"):
        open_images(tmp_path / "a.bin")
