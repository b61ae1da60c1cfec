"""A signed image in a registry, and what an attacker or a mistake may do to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from converter.oci import Descriptor, Digest, encode_json, fallback_tag
from signer import (
    Rule,
    SignedArtifacts,
    SigningKey,
    VerificationError,
    VerificationPolicy,
    VerificationReport,
    merge_referrers,
    sign_image,
    verify_image,
)
from signer.attach import bundle_artifact
from signer.bundle import Bundle
from signer.statements import Statement
from tests.signer.golden.make_golden import golden_key
from tests.signer.memory_registry import MemoryRegistry
from tests.signer.synthetic import REPOSITORY, SyntheticImage, synthetic_image

Json = dict[str, Any]
KEY = golden_key()
OTHER = SigningKey(ec.generate_private_key(ec.SECP256R1()))
IMAGE = synthetic_image()
SIGNED = sign_image(IMAGE.request, KEY)
POLICY = VerificationPolicy((KEY.public_key,), frozenset({REPOSITORY}))
TAG = "v1-nydus"


def pushed(image: SyntheticImage = IMAGE, signed: SignedArtifacts | None = SIGNED) -> MemoryRegistry:
    registry = MemoryRegistry()
    registry.push_image(image, TAG)
    if signed is not None:
        registry.push_signed(signed)
    return registry


def verify(
    registry: MemoryRegistry, policy: VerificationPolicy = POLICY, reference: str = TAG, *, deep: bool = False
) -> VerificationReport:
    return verify_image(registry, "demo/app", reference, policy, deep=deep)


def refused(
    registry: MemoryRegistry,
    rule: Rule,
    reason: str,
    policy: VerificationPolicy = POLICY,
    *,
    deep: bool = False,
) -> None:
    with pytest.raises(VerificationError, match=reason) as caught:
        verify(registry, policy, deep=deep)
    assert caught.value.rule is rule
    assert str(caught.value).startswith(f"rule {rule.value} (")
    assert "\n" not in str(caught.value)


def attach(
    registry: MemoryRegistry, subject: Descriptor, statement: Statement, key: SigningKey = KEY
) -> Digest:
    """Adds a bundle as a publisher would, whatever the statement says; the bundle's digest."""
    artifact = bundle_artifact(subject, statement.predicate_type, Bundle.sign(statement.encode(), key))
    for blob in artifact.blobs:
        assert isinstance(blob.content, bytes)
        registry.blobs[blob.descriptor.digest] = blob.content
    registry.put_manifest(artifact.manifest.raw, artifact.tag)
    tag = fallback_tag(subject.digest)
    entry = replace(
        artifact.manifest.descriptor,
        artifact_type=artifact.manifest.artifact_type,
        annotations=artifact.manifest.annotations,
    )
    registry.put_manifest(merge_referrers(registry.tagged(tag), [entry]), tag)
    return artifact.manifest.layers[0].digest


def restated(
    predicate_type: str, edit: Callable[[Statement], Statement], image: SyntheticImage = IMAGE
) -> MemoryRegistry:
    """The image with one of its statements changed and signed again by the right key."""
    signed = sign_image(image.request, KEY)
    registry = pushed(image, signed)
    for artifact in signed.referrers:
        if artifact.manifest.annotations.get("dev.sigstore.bundle.predicateType") == predicate_type:
            content = artifact.blobs[1].content
            assert isinstance(content, bytes)
            statement = edit(Statement.parse(Bundle.parse(content).payload))
            attach(registry, image.manifest.descriptor, statement)
    return registry


def edited_predicate(predicate_type: str, edit: Callable[[Json], object]) -> MemoryRegistry:
    def change(statement: Statement) -> Statement:
        predicate = json.loads(json.dumps(dict(statement.predicate)))
        edit(predicate)
        return replace(statement, predicate=predicate)

    return restated(predicate_type, change)


def flip_payload(bundle: Json) -> None:
    """One flipped byte in the statement itself."""
    payload = bytearray(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    payload[len(payload) // 2] ^= 1
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()


def edit_bundle(edit: Callable[[Json], object]) -> Callable[[bytes], bytes]:
    """An edit of a bundle's JSON as an edit of its bytes."""

    def change(raw: bytes) -> bytes:
        bundle = json.loads(raw)
        edit(bundle)
        return encode_json(bundle)

    return change


def reseal(
    registry: MemoryRegistry,
    number: int,
    change: Callable[[bytes], bytes],
    layer: int = 0,
    signed: SignedArtifacts = SIGNED,
) -> None:
    """Changes one layer of an artifact, and makes its manifest, its tag and the fallback index fit again."""
    artifact = signed.referrers[number]
    document = json.loads(artifact.manifest.raw)
    raw = change(registry.blobs[artifact.manifest.layers[layer].digest])
    registry.blobs[Digest.of(raw)] = raw
    document["layers"][layer].update(digest=str(Digest.of(raw)), size=len(raw))
    manifest = encode_json(document)
    registry.put_manifest(manifest, artifact.tag)
    index = json.loads(registry.tagged(signed.fallback_tag) or b"")
    for entry in index["manifests"]:
        if entry["digest"] == str(artifact.manifest.digest):
            entry.update(digest=str(Digest.of(manifest)), size=len(manifest))
    registry.put_manifest(encode_json(index), signed.fallback_tag)
