import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.oci import (
    Descriptor,
    Digest,
    ImageIndex,
    ImageManifest,
    InvalidManifestError,
    OciError,
    encode_json,
    media_types,
    parse_manifest,
)

CONFIG = Descriptor(media_types.OCI_CONFIG, Digest.of(b"config"), 6)
LAYER = Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(b"layer"), 5, {"k": "v"})
IMAGE: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": media_types.OCI_MANIFEST,
    "config": CONFIG.to_json(),
    "layers": [LAYER.to_json()],
}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": media_types.OCI_INDEX,
    "manifests": [
        {**CONFIG.to_json(), "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"}},
    ],
}


def test_an_image_keeps_its_exact_bytes() -> None:
    raw = json.dumps(IMAGE, indent=3).encode()
    manifest = parse_manifest(raw, media_types.OCI_MANIFEST)
    assert isinstance(manifest, ImageManifest)
    assert manifest.raw == raw
    assert manifest.descriptor == Descriptor(media_types.OCI_MANIFEST, Digest.of(raw), len(raw))
    assert manifest.config == CONFIG
    assert manifest.layers == (LAYER,)


def test_an_index_tells_its_platforms() -> None:
    index = parse_manifest(encode_json(INDEX))
    assert isinstance(index, ImageIndex)
    assert [str(entry.platform) for entry in index.manifests] == ["linux/arm64/v8"]


def test_subject_artifact_type_and_annotations_are_read() -> None:
    manifest = parse_manifest(
        encode_json({**IMAGE, "subject": LAYER.to_json(), "artifactType": "a/b", "annotations": {"x": "y"}})
    )
    assert (manifest.subject, manifest.artifact_type, manifest.annotations) == (LAYER, "a/b", {"x": "y"})


def test_a_manifest_without_media_type_takes_the_transports() -> None:
    plain = {key: value for key, value in IMAGE.items() if key != "mediaType"}
    assert (
        parse_manifest(encode_json(plain), media_types.DOCKER_MANIFEST).media_type
        == media_types.DOCKER_MANIFEST
    )
    assert parse_manifest(encode_json(plain)).media_type == media_types.OCI_MANIFEST


@pytest.mark.parametrize(
    ("raw", "media_type", "message"),
    [
        (b"", None, "not JSON"),
        (b"[" * 100_000, None, "not JSON"),
        (b"[]", None, "schemaVersion"),
        (encode_json({**IMAGE, "schemaVersion": 1}), None, "schemaVersion"),
        (encode_json(IMAGE), media_types.OCI_INDEX, "it was sent as"),
        (encode_json({**IMAGE, "manifests": []}), None, "both manifests and layers"),
        (encode_json({**IMAGE, "mediaType": "text/html"}), None, "unknown manifest media type"),
        (encode_json({**IMAGE, "layers": None}), None, "lacks the list 'layers'"),
        (encode_json({**IMAGE, "config": None}), None, "not an object"),
        (encode_json({**IMAGE, "layers": [{**LAYER.to_json(), "size": -1}]}), None, "has the size -1"),
        (encode_json({**IMAGE, "layers": [{**LAYER.to_json(), "size": True}]}), None, "integer size"),
        (encode_json({**IMAGE, "annotations": {"a": 1}}), None, "not strings"),
        (b" " * (4 * 1024 * 1024 + 1), None, "over the limit"),
    ],
)
def test_malformed_manifests_are_refused(raw: bytes, media_type: str | None, message: str) -> None:
    with pytest.raises(InvalidManifestError, match=message):
        parse_manifest(raw, media_type)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["config", "layers", "manifests", "subject", "annotations", "artifactType"]), JSON
    )
)
def test_garbage_gives_our_error_and_no_other(fields: dict[str, Any]) -> None:
    with contextlib.suppress(OciError):
        parse_manifest(encode_json({"schemaVersion": 2, **fields}))


@given(JSON)
def test_a_garbage_descriptor_gives_our_error_and_no_other(value: object) -> None:
    fields = {"mediaType": "a/b", "digest": str(CONFIG.digest), "size": 1}
    for key in ("annotations", "urls", "platform", "artifactType"):
        with contextlib.suppress(OciError):
            Descriptor.from_json({**fields, key: value})
