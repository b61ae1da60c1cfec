"""index.json: what is found in it, and what is kept when it is changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from converter.oci import Digest, media_types
from registry_hook.transports import InvalidLayoutError, NoSuchImageError
from registry_hook.transports.layout import REF_NAME, add_image, find_image
from tests.registry_hook.transports.images import descriptor

OLD = descriptor(media_types.OCI_MANIFEST, b"old")
NEW = descriptor(media_types.OCI_MANIFEST, b"new")


def entry(content: bytes, name: str | None = None, **more: Any) -> dict[str, Any]:
    found = descriptor(media_types.OCI_MANIFEST, content).to_json()
    if name is not None:
        found["annotations"] = {REF_NAME: name}
    return {**found, **more}


def index(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": list(entries), **more}).encode()


def test_an_image_is_found_by_its_name() -> None:
    both = index(entry(b"old", "a"), entry(b"new", "b"), entry(b"third"))
    assert find_image(both, "b", "here").digest == Digest.of(b"new")
    assert find_image(index(entry(b"old", "whatever")), None, "here").digest == Digest.of(b"old")


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (index(), None),
        (index(), "a"),
        (index(entry(b"1"), entry(b"2")), None),
        (index(entry(b"1", "a"), entry(b"2", "a")), "a"),
        (index(entry(b"1", "b")), "a"),
    ],
)
def test_anything_but_one_image_is_an_error(raw: bytes, name: str | None) -> None:
    with pytest.raises(NoSuchImageError, match="here"):
        find_image(raw, name, "here")


def test_images_without_a_name_are_counted_where_names_are_told() -> None:
    images = index(entry(b"1", "b"), entry(b"2"), entry(b"3"), entry(b"4", "a"))
    with pytest.raises(NoSuchImageError, match=r"4 images .*; names: 'a', 'b', 2 without a name$"):
        find_image(images, None, "here")
    with pytest.raises(NoSuchImageError, match=r"0 images named 'x' instead of one; names: none$"):
        find_image(index(), "x", "here")


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"manifests":5}', b'{"manifests":[5]}', b'{"manifests":[{}]}', b"[" * 100_000,
     index({"mediaType": "x", "digest": "sha512:00", "size": 1}), index(entry(b"x", size=-1))],
)  # fmt: skip
def test_garbage_is_our_error(raw: bytes) -> None:
    with pytest.raises(InvalidLayoutError, match="here"):
        find_image(raw, None, "here")


def test_a_first_image() -> None:
    document = json.loads(add_image(None, NEW, "v1", "here"))
    assert document == {"schemaVersion": 2, "manifests": [entry(b"new", "v1")]}
    document = json.loads(add_image(None, NEW, None, "here"))
    assert document == {"schemaVersion": 2, "manifests": [entry(b"new")]}


def test_other_images_and_unknown_fields_stay() -> None:
    other = entry(b"other", "other", urls=["https://x.test/"], data="eA==", unknown={"a": 1})
    document = json.loads(add_image(index(other, annotations={"k": "v"}, unknown=1), NEW, "v1", "here"))
    assert document == {
        "schemaVersion": 2,
        "manifests": [other, entry(b"new", "v1")],
        "annotations": {"k": "v"},
        "unknown": 1,
    }


@pytest.mark.parametrize(
    ("before", "name", "after"),
    [
        ([entry(b"old", "v1")], "v1", [entry(b"new", "v1")]),  # the name moves
        ([entry(b"new", "v1")], "v1", [entry(b"new", "v1")]),  # the same again
        ([entry(b"new", "v0")], "v1", [entry(b"new", "v0"), entry(b"new", "v1")]),  # a second name
        ([entry(b"new")], "v1", [entry(b"new", "v1")]),  # it gets its first name
        ([entry(b"old")], "v1", [entry(b"old"), entry(b"new", "v1")]),
        ([entry(b"old")], None, [entry(b"old"), entry(b"new")]),
        ([entry(b"new")], None, [entry(b"new")]),
        ([entry(b"new", "v0")], None, [entry(b"new", "v0"), entry(b"new")]),
    ],
)
def test_names_are_unique(before: list[Any], name: str | None, after: list[Any]) -> None:
    assert json.loads(add_image(index(*before), NEW, name, "here"))["manifests"] == after


def test_an_index_that_is_none_is_not_overwritten() -> None:
    with pytest.raises(InvalidLayoutError):
        add_image(b"{", NEW, "v1", "here")
