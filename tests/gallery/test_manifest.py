"""The manifest: what is written is read; everything else is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from idsim.errors import GalleryError
from idsim.gallery import Gallery
from idsim.gallery.format import MANIFEST, Manifest, read_manifest
from support.manifests import rewritten
from support.mutations import edits, truncations


def test_round_trip(people: Gallery) -> None:
    manifest = read_manifest(people.path)
    assert manifest.render() == (people.path / MANIFEST).read_bytes()
    assert manifest.metadata == {"matcher": "toy", "crop": 112, "flip": False}
    assert list(manifest.columns) == ["id", "group", "source", "age", "note"]
    assert [shard.rows for shard in manifest.shards] == [30, 30, 30, 11]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda m: m.update(format="idsim-prepared"), "manifest.format"),
        (lambda m: m.update(version=2), "manifest.version: is 2; this idsim reads version 1"),
        (lambda m: m.update(version=True), "manifest.version"),
        (lambda m: m.update(version=1.0), "manifest.version"),
        (lambda m: m.update(rows=100), "manifest.rows"),
        (lambda m: m.update(dim=0), "manifest.dim"),
        (lambda m: m.update(dim=1 << 18), "manifest.dim"),
        (lambda m: m.update(dtype="float64"), "manifest.dtype"),
        (lambda m: m.update(shards={}), "manifest.shards"),
        (lambda m: m.pop("metadata"), "manifest.metadata: is missing"),
        (lambda m: m.update(metadata={"a": [1]}), "manifest.metadata"),
        (lambda m: m.update(more=1), "manifest.more: is not a key"),
        (lambda m: m["columns"].append({"name": "age", "type": "string"}), "stands twice"),
        (lambda m: m["columns"].pop(0), "no column 'id'"),
        (lambda m: m["columns"][0].update(type="float32"), r"columns\[0\].type"),
        (lambda m: m["columns"][3].update(type="list<item: int64>"), r"columns\[3\].type"),
        (lambda m: m["columns"].clear(), "table without columns"),
        (lambda m: m["shards"][1].update(table=None), r"shards\[1\]: has no table"),
        (lambda m: m["shards"][1].update(rows=-1), r"shards\[1\].rows"),
        (lambda m: m["shards"][1].update(rows=0), r"shards\[1\].rows"),
        (lambda m: m["shards"][1].update(nonfinite_rows=31), r"shards\[1\].nonfinite_rows"),
        (lambda m: m["shards"][0]["vectors"].update(file="../plain/vectors-00000.npy"), r"vectors.file"),
        (lambda m: m["shards"][0]["vectors"].update(file="vectors-00001.npy"), r"vectors.file"),
        (lambda m: m["shards"][0]["vectors"].update(sha256="AB"), r"vectors.sha256"),
        (lambda m: m["shards"][0]["vectors"].update(bytes=10**30), r"vectors.bytes"),
    ],
)
def test_fields_that_are_refused(
    people: Gallery, change: Callable[[dict[str, Any]], object], place: str
) -> None:
    rewritten(people.path, change)
    with pytest.raises(GalleryError, match=place):
        Gallery.open(people.path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "not an object"),
        ("", "not the JSON"),
        ('{"format": "idsim-gallery", "format": "idsim-gallery"}', "'format' stands twice"),
        ('{"format": NaN}', "NaN is not a JSON number"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"rows": ' + "9" * 5000 + "}", "not the JSON"),
        ("\udc80", "not the JSON"),
    ],
)
def test_texts_that_are_refused(plain: Gallery, text: str, reason: str) -> None:
    (plain.path / MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(GalleryError, match=reason):
        Gallery.open(plain.path)


def test_damage_is_always_found(people: Gallery) -> None:
    """Every change of the manifest's content is an error; only spaces may differ."""
    data = (people.path / MANIFEST).read_bytes()
    content = json.loads(data)
    for damaged in [*truncations(data, dense=50), *edits(data, 500, seed=2)]:
        (people.path / MANIFEST).write_bytes(damaged)
        try:
            Gallery.open(people.path)
        except GalleryError:
            continue
        assert json.loads(damaged) == content


def test_the_digest_names_the_content(people: Gallery, plain: Gallery) -> None:
    assert people.digest != plain.digest
    assert people.digest == json.loads((people.path / MANIFEST).read_text())["sha256"]
    assert Manifest(dim=1, dtype="float32", columns={}, shards=()).rows == 0
