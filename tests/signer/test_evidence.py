"""Rules 2 to 4: which bundles count."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from converter.chunk_manifest import PREDICATE_CHUNK_MANIFEST
from converter.oci import Descriptor, Digest, encode_json, media_types, parse_manifest
from signer import (
    PREDICATE_PROVENANCE,
    PREDICATE_SIGN,
    Rule,
    merge_referrers,
)
from signer.attach import bundle_artifact
from signer.bundle import MAX_BUNDLE_BYTES, Bundle
from signer.statements import sign_statement
from tests.signer.published import (
    IMAGE,
    KEY,
    OTHER,
    POLICY,
    SIGNED,
    Json,
    attach,
    edit_bundle,
    flip_payload,
    pushed,
    refused,
    reseal,
    restated,
    verify,
)


def test_unsigned() -> None:
    refused(pushed(signed=None), Rule.BUNDLES, f"has no bundle of the type {PREDICATE_SIGN}")


@pytest.mark.parametrize("missing", [PREDICATE_SIGN, PREDICATE_CHUNK_MANIFEST, PREDICATE_PROVENANCE])
def test_one_kind_is_missing(missing: str) -> None:
    registry = pushed(
        signed=replace(
            SIGNED,
            referrers=tuple(
                artifact
                for artifact in SIGNED.referrers
                if artifact.manifest.annotations.get("dev.sigstore.bundle.predicateType") != missing
            ),
        )
    )
    refused(registry, Rule.BUNDLES, f"has no bundle of the type {missing}")


def test_too_many_candidates() -> None:
    registry = pushed()
    for number in range(62):
        junk = Descriptor(media_types.OCI_MANIFEST, Digest.of(b"%d" % number), 1)
        tag = SIGNED.fallback_tag
        registry.put_manifest(merge_referrers(registry.tagged(tag), [junk]), tag)
    refused(registry, Rule.BUNDLES, "65 referrers that may be bundles, more than 64")


def test_reports_of_scanners_do_not_use_up_the_candidates() -> None:
    registry, tag = pushed(), SIGNED.fallback_tag
    for number in range(200):
        report = Descriptor(
            media_types.OCI_MANIFEST, Digest.of(b"%d" % number), 1, artifact_type="application/sarif+json"
        )
        registry.put_manifest(merge_referrers(registry.tagged(tag), [report]), tag)
    verify(registry)


@pytest.mark.parametrize("listed_as", [None, media_types.OCI_EMPTY])
def test_bundles_in_lists_that_do_not_call_them_so(listed_as: str | None) -> None:
    """Some registries list a manifest by the type of its config, and cosign's entries may have none."""
    registry = pushed()
    entries = [replace(entry, artifact_type=listed_as) for entry in SIGNED.entries[3:]]
    registry.put_manifest(merge_referrers(None, entries), SIGNED.fallback_tag)
    verify(registry)


def test_too_many_referrers() -> None:
    registry = pushed()
    entry = Descriptor(media_types.OCI_MANIFEST, Digest.of(b""), 1, artifact_type=media_types.CHUNK_LIST)
    registry.referrers = lambda repository, digest: [entry] * 1025  # type: ignore[method-assign]
    refused(registry, Rule.BUNDLES, "1025 referrers, more than 1024")


def test_a_large_bundle_is_not_read() -> None:
    registry = pushed(signed=None)
    artifact = bundle_artifact(IMAGE.manifest.descriptor, PREDICATE_SIGN, Bundle(b"", b"", ""))
    document = json.loads(artifact.manifest.raw)
    document["layers"][0]["size"] = MAX_BUNDLE_BYTES + 1
    digest = registry.put_manifest(encode_json(document))
    entry = Descriptor(media_types.OCI_MANIFEST, digest, 1)
    registry.put_manifest(merge_referrers(None, [entry]), SIGNED.fallback_tag)
    refused(registry, Rule.BUNDLES, "has 1048577 bytes")
    assert registry.blob_reads == []


@pytest.mark.parametrize("longer", [True, False])
def test_a_bundle_with_other_bytes_than_its_digest(longer: bool) -> None:
    registry = pushed()
    digest = SIGNED.referrers[3].manifest.layers[0].digest
    registry.blobs[digest] = registry.blobs[digest] + b" " * 9 if longer else registry.blobs[digest][:-1]
    refused(registry, Rule.BUNDLES, f"blob {digest} does not have the bytes of its digest")


def test_junk_next_to_good_bundles_does_no_harm() -> None:
    registry = pushed()
    sbom = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": Descriptor(media_types.OCI_EMPTY, Digest.of(b"{}"), 2).to_json(),
            "layers": [Descriptor("application/spdx+json", Digest.of(b"sbom"), 4).to_json()],
        }
    )
    unreadable = b'{"schemaVersion":2,"config":{"digest":"sha512:00"},"layers":[]}'
    index = encode_json({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": []})
    entries = [
        Descriptor(media_types.OCI_MANIFEST, registry.put_manifest(sbom), len(sbom)),
        Descriptor(media_types.OCI_INDEX, registry.put_manifest(index), len(index)),
        Descriptor(media_types.OCI_MANIFEST, Digest.of(b"collected as garbage"), 1),
        Descriptor(media_types.OCI_MANIFEST, Digest.of(unreadable), len(unreadable)),
    ]
    real_resolve, real_manifest = registry.resolve, registry.manifest
    registry.resolve = lambda repository, reference: (  # type: ignore[method-assign]
        entries[3] if reference == str(entries[3].digest) else real_resolve(repository, reference)
    )
    registry.manifest = lambda repository, reference: (  # type: ignore[method-assign]
        parse_manifest(unreadable)
        if reference == str(entries[3].digest)
        else real_manifest(repository, reference)
    )
    tag = SIGNED.fallback_tag
    registry.put_manifest(merge_referrers(registry.tagged(tag), entries), tag)
    attach(registry, IMAGE.manifest.descriptor, sign_statement("elsewhere", IMAGE.manifest.digest), OTHER)
    verify(registry)


def test_another_key() -> None:
    policy = replace(POLICY, keys=(OTHER.public_key,))
    refused(pushed(), Rule.SIGNATURE, "by none of the trusted keys .*3 bundles rejected", policy)


@pytest.mark.parametrize("number", [3, 4, 5])
def test_one_flipped_byte_in_a_resealed_statement(number: int) -> None:
    registry = pushed()
    reseal(registry, number, edit_bundle(flip_payload))
    refused(registry, Rule.SIGNATURE, "by none of the trusted keys")


def test_a_flipped_byte_in_the_signature() -> None:
    registry = pushed()

    def flip(bundle: Json) -> None:
        signature = bundle["dsseEnvelope"]["signatures"][0]
        raw = bytearray(base64.b64decode(signature["sig"]))
        raw[-1] ^= 1
        signature["sig"] = base64.b64encode(raw).decode()

    reseal(registry, 4, edit_bundle(flip))
    refused(registry, Rule.SIGNATURE, "by none of the trusted keys")


def test_two_signatures_in_one_envelope() -> None:
    registry = pushed()
    reseal(registry, 4, edit_bundle(lambda b: b["dsseEnvelope"]["signatures"].append({"sig": "AA=="})))
    refused(registry, Rule.SIGNATURE, "exactly one signature")


def test_a_wrong_hint_changes_nothing() -> None:
    registry = pushed()
    reseal(registry, 4, edit_bundle(lambda b: b["verificationMaterial"]["publicKey"].update(hint="?")))
    verify(registry)


def test_the_same_signature_over_another_payload_type() -> None:
    registry = pushed()
    reseal(registry, 4, edit_bundle(lambda b: b["dsseEnvelope"].update(payloadType="application/json")))
    refused(registry, Rule.SIGNATURE, "payload type")


@pytest.mark.parametrize("kind", [PREDICATE_SIGN, PREDICATE_CHUNK_MANIFEST, PREDICATE_PROVENANCE])
def test_a_statement_about_another_image(kind: str) -> None:
    registry = restated(kind, lambda statement: replace(statement, subject=Digest.of(b"other")))
    refused(registry, Rule.STATEMENT, f"is about {Digest.of(b'other')}")


def test_a_payload_that_is_no_statement() -> None:
    registry = pushed()
    artifact = bundle_artifact(IMAGE.manifest.descriptor, PREDICATE_SIGN, Bundle.sign(b"{}", KEY))
    content = artifact.blobs[1].content
    assert isinstance(content, bytes)
    reseal(registry, 3, edit_bundle(lambda b: b.update(json.loads(content))))
    refused(registry, Rule.STATEMENT, "not an in-toto statement")


def test_the_type_must_be_exact() -> None:
    registry = restated(
        PREDICATE_CHUNK_MANIFEST, lambda statement: replace(statement, predicate_type=PREDICATE_SIGN)
    )
    # The old chunk manifest goes with the index entry that the new bundle does not replace.
    index = json.loads(registry.tagged(SIGNED.fallback_tag) or b"")
    digest = str(SIGNED.referrers[4].manifest.digest)
    index["manifests"] = [entry for entry in index["manifests"] if entry["digest"] != digest]
    registry.put_manifest(encode_json(index), SIGNED.fallback_tag)
    refused(registry, Rule.BUNDLES, f"no bundle of the type {PREDICATE_CHUNK_MANIFEST}")


def test_a_bundle_that_the_source_finds_wrong_hides_no_good_one() -> None:
    """Distribution takes a manifest that lies about its layer; the client notices when it reads."""
    registry, image = pushed(), IMAGE.manifest
    registry.broken = {attach(registry, image.descriptor, sign_statement("elsewhere", image.digest), OTHER)}
    verify(registry)


def test_a_chunk_list_that_the_source_finds_wrong_breaks_the_rule_about_content() -> None:
    registry = pushed()
    registry.broken = {IMAGE.request.blobs[0][0].chunk_list.digest}
    refused(registry, Rule.CONTENT, "expected another size")
