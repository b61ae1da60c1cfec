"""The rule about content: chunk lists, blobs and bootstrap layer."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.oci import Descriptor, Digest, encode_json, media_types
from signer import (
    PREDICATE_SIGN,
    Rule,
    VerificationError,
    merge_referrers,
    sign_image,
)
from signer.attach import chunk_list_tag
from signer.bundle import Bundle
from signer.statements import Statement
from tests.signer.published import (
    IMAGE,
    KEY,
    OTHER,
    SIGNED,
    Json,
    edit_bundle,
    pushed,
    refused,
    reseal,
    verify,
)
from tests.signer.synthetic import ARM64, synthetic_image


def test_no_chunk_list() -> None:
    registry = pushed(signed=replace(SIGNED, referrers=SIGNED.referrers[1:]))
    refused(registry, Rule.CONTENT, f"there is no chunk list of {IMAGE.request.blobs[0][0].digest}")


@pytest.mark.parametrize("at", [70, 100, -1])
def test_a_flipped_byte_in_a_chunk_list(at: int) -> None:
    registry = pushed()
    digest = IMAGE.request.blobs[1][0].chunk_list.digest
    raw = bytearray(registry.blobs[digest])
    raw[at] ^= 1
    registry.blobs[digest] = bytes(raw)
    refused(registry, Rule.CONTENT, "chunk list of")


def test_a_shortened_chunk_list() -> None:
    registry = pushed()
    digest = IMAGE.request.blobs[1][0].chunk_list.digest
    registry.blobs[digest] = registry.blobs[digest][:-40]
    refused(registry, Rule.CONTENT, "early")


def test_another_number_of_records_is_noticed_before_they_are_read() -> None:
    registry = pushed()
    digest = IMAGE.request.blobs[1][0].chunk_list.digest
    raw = registry.blobs[digest]
    registry.blobs[digest] = raw[:16] + (1 << 20).to_bytes(8, "big") + raw[24:]
    refused(registry, Rule.CONTENT, "it has 1048576 records, signed are 4")


def test_the_list_of_another_blob_with_its_own_good_signature() -> None:
    """A whole artifact in the wrong place: all of its signatures are good."""
    registry = pushed()
    first, second = (chunk_list_tag(IMAGE.request.blobs[number][0].digest) for number in (0, 1))
    registry.tags[first] = registry.tags[second]
    index = json.loads(registry.tagged(SIGNED.fallback_tag) or b"")
    index["manifests"] = [
        entry for entry in index["manifests"] if entry["artifactType"] != media_types.CHUNK_LIST
    ]
    registry.put_manifest(encode_json(index), SIGNED.fallback_tag)
    refused(registry, Rule.CONTENT, "does not hold the signed list of")


def test_a_tag_that_moved_to_a_list_by_another_key() -> None:
    """The image's own artifact counts, so signing a shared blob with a new key breaks no older image."""
    registry = pushed()
    newer = sign_image(synthetic_image(platform=ARM64).request, OTHER)
    for artifact in newer.referrers[:3]:
        for blob in artifact.blobs:
            assert isinstance(blob.content, bytes)
            registry.blobs[blob.descriptor.digest] = blob.content
        registry.put_manifest(artifact.manifest.raw, artifact.tag)
    verify(registry)

    registry.put_manifest(merge_referrers(None, SIGNED.entries[3:]), SIGNED.fallback_tag)
    refused(registry, Rule.SIGNATURE, "by none of the trusted keys")


def test_a_list_artifact_that_was_collected() -> None:
    registry = pushed()
    digest = SIGNED.referrers[0].manifest.digest
    real = registry.resolve

    def resolve(repository: str, reference: str) -> Descriptor | None:
        return None if reference == str(digest) else real(repository, reference)

    registry.resolve = resolve  # type: ignore[method-assign]
    refused(registry, Rule.CONTENT, "is missing")


@pytest.mark.parametrize(
    ("edit", "rule", "reason"),
    [
        (lambda s: replace(s, subject=Digest.of(b"x")), Rule.STATEMENT, "is about"),
        (lambda s: replace(s, predicate_type=PREDICATE_SIGN), Rule.STATEMENT, f"is a {PREDICATE_SIGN}"),
        (lambda s: replace(s, predicate={}), Rule.CONTENT, "blob statement.schema"),
        (
            lambda s: replace(s, predicate={**s.predicate, "rootHash": "0" * 64}),
            Rule.CONTENT,
            "the chunk manifest disagree",
        ),
    ],
)
def test_the_blob_s_own_statement(edit: Callable[[Statement], Statement], rule: Rule, reason: str) -> None:
    registry = pushed()

    def resign(bundle: Json) -> None:
        statement = edit(Statement.parse(base64.b64decode(bundle["dsseEnvelope"]["payload"])))
        bundle.update(json.loads(Bundle.sign(statement.encode(), KEY).encode()))

    reseal(registry, 0, edit_bundle(resign), layer=1)
    refused(registry, rule, reason)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("at", [0, 100, -1])
def test_a_flipped_byte_in_a_blob(number: int, at: int) -> None:
    registry = pushed()
    digest = IMAGE.manifest.layers[number].digest
    raw = bytearray(registry.blobs[digest])
    raw[at] ^= 1
    registry.blobs[digest] = bytes(raw)
    verify(registry)
    refused(registry, Rule.CONTENT, f"blob {digest}: the (chunk|stretch) of record", deep=True)


def test_the_place_of_a_flipped_byte_is_named() -> None:
    registry = pushed()
    digest = IMAGE.manifest.layers[0].digest
    raw = bytearray(registry.blobs[digest])
    raw[1500] ^= 1
    registry.blobs[digest] = bytes(raw)
    refused(registry, Rule.CONTENT, "the chunk of record 2, 720 bytes at 1440, is not", deep=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda raw: raw[:-1], "the stretch of record"),
        (lambda raw: raw + b"\x00", "does not have the bytes of its digest"),
        (lambda raw: b"", "the chunk of record 0"),
    ],
)
def test_a_blob_of_another_length(change: Callable[[bytes], bytes], reason: str) -> None:
    registry = pushed()
    digest = IMAGE.manifest.layers[0].digest
    registry.blobs[digest] = change(registry.blobs[digest])
    refused(registry, Rule.CONTENT, reason, deep=True)


@pytest.mark.parametrize("at", [0, 5, 40, -10, -1])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_flipped_byte_in_the_bootstrap_layer(at: int, compressed: bool) -> None:
    image = synthetic_image(compressed=compressed)
    registry = pushed(image, sign_image(image.request, KEY))
    digest = image.manifest.layers[-1].digest
    raw = bytearray(registry.blobs[digest])
    raw[at] ^= 1
    registry.blobs[digest] = bytes(raw)
    verify(registry)
    refused(registry, Rule.CONTENT, f"bootstrap layer {digest}: ", deep=True)


@pytest.mark.parametrize("cut", [0, 5, 600, 1500])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_short_bootstrap_layer(cut: int, compressed: bool) -> None:
    image = synthetic_image(compressed=compressed)
    registry = pushed(image, sign_image(image.request, KEY))
    digest = image.manifest.layers[-1].digest
    registry.blobs[digest] = registry.blobs[digest][: min(cut, len(registry.blobs[digest]) - 1)]
    refused(registry, Rule.CONTENT, f"bootstrap layer {digest}: ", deep=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"diff_id": Digest.of(b"x")}, "its diff id is"),
        ({"boot_digest": Digest.of(b"x")}, "its digest of image/image.boot is"),
    ],
)
def test_a_bootstrap_that_is_not_what_was_signed(change: dict[str, Any], reason: str) -> None:
    request = replace(IMAGE.request, bootstrap=replace(IMAGE.request.bootstrap, **change))
    refused(pushed(signed=sign_image(request, KEY)), Rule.CONTENT, reason, deep=True)


@given(st.data())
def test_garbage_in_any_blob_breaks_a_rule_and_nothing_else(data: st.DataObject) -> None:
    registry = pushed()
    digest = data.draw(st.sampled_from(sorted(set(registry.blobs) - {Digest.of(b"{}")})))
    raw = registry.blobs[digest]
    at = data.draw(st.integers(0, len(raw)))
    changed = raw[:at] + data.draw(st.binary(max_size=50)) + raw[at + data.draw(st.integers(0, 50)) :]
    registry.blobs[digest] = changed
    classic = SIGNED.signature.manifest
    read_by_nobody = {IMAGE.manifest.config.digest, classic.config.digest, classic.layers[0].digest}
    if changed == raw or digest in read_by_nobody:
        verify(registry, deep=True)
        return
    with pytest.raises(VerificationError):
        verify(registry, deep=True)
