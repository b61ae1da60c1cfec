"""The published signatures before real clients, cosign and ORAS, and in real registries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from converter.chunk_manifest import PREDICATE_BLOB, PREDICATE_CHUNK_MANIFEST
from converter.oci import Descriptor, Digest, ImageIndex, encode_json, media_types, parse_manifest
from registry_hook.registry.client import RegistryClient
from registry_hook.registry.endpoint import RegistryEndpoint
from registry_hook.registry.errors import RefusedError
from signer import (
    PREDICATE_SIGN,
    Rule,
    SignedArtifacts,
    SigningKey,
    VerificationError,
    VerificationPolicy,
    VerificationReport,
    merge_referrers,
    merge_simple_signatures,
    sign_image,
    sign_index,
    verify_image,
)
from signer.simple_signing import simple_signature
from tests.peers.programs import ProgramError, run_program
from tests.peers.registries import Registry
from tests.peers.tools import cosign_verify, cosign_verify_attestation, oras_discover, oras_pull
from tests.signer.golden.make_golden import HERE as GOLDEN
from tests.signer.memory_registry import MemoryRegistry
from tests.signer.published import KEY, OTHER, edit_bundle, flip_payload, reseal
from tests.signer.synthetic import AMD64, ARM64, SyntheticImage, synthetic_image, synthetic_index

pytestmark = pytest.mark.peers

REPOSITORY = "demo/app"
TAG = "v1-nydus"
SLSA = "slsaprovenance1"  # what cosign calls https://slsa.dev/provenance/v1


@dataclass(frozen=True)
class Published:
    """A signed synthetic image, held in memory until it is uploaded to a real registry."""

    registry: Registry
    client: RegistryClient
    keys: Path
    image: SyntheticImage
    signed: SignedArtifacts
    memory: MemoryRegistry

    @property
    def name(self) -> str:
        return f"{self.registry.host}/{REPOSITORY}"

    @property
    def reference(self) -> str:
        return f"{self.name}:{TAG}"

    @property
    def key(self) -> Path:
        return self.keys / "ours.pub"

    @property
    def other_key(self) -> Path:
        return self.keys / "other.pub"

    def upload(self) -> None:
        """Puts all of the memory into the registry, indexes after the manifests that they list."""
        for digest, content in self.memory.blobs.items():
            self.client.put_blob(REPOSITORY, Descriptor("", digest, len(content)), content)
        manifests = [parse_manifest(raw) for raw in self.memory.manifests.values()]
        for manifest in sorted(manifests, key=lambda manifest: isinstance(manifest, ImageIndex)):
            self.client.put_manifest(REPOSITORY, str(manifest.digest), manifest.raw, manifest.media_type)
        for tag, digest in self.memory.tags.items():
            raw = self.memory.manifests[digest]
            self.client.put_manifest(REPOSITORY, tag, raw, parse_manifest(raw).media_type)

    def verify(self, key: SigningKey = KEY, *, deep: bool = True) -> VerificationReport:
        """Our own verification, reading by the real registry client."""
        policy = VerificationPolicy((key.public_key,), frozenset({self.name}))
        return verify_image(self.client, REPOSITORY, TAG, policy, deep=deep)


@pytest.fixture
def published(registry: Registry, tmp_path: Path) -> Iterator[Published]:
    (tmp_path / "ours.pub").write_bytes(KEY.public_key.pem)
    (tmp_path / "other.pub").write_bytes(OTHER.public_key.pem)
    image = synthetic_image(repository=f"{registry.host}/{REPOSITORY}")
    memory, signed = MemoryRegistry(), sign_image(image.request, KEY)
    memory.push_image(image, TAG)
    memory.push_signed(signed)
    with RegistryClient(RegistryEndpoint(registry.url)) as client:
        yield Published(registry, client, tmp_path, image, signed, memory)


def refused(action: Callable[[], object], reason: str) -> None:
    with pytest.raises(ProgramError, match=reason):
        action()


def test_a_signed_image_passes(published: Published) -> None:
    published.upload()
    assert str(published.image.manifest.digest) in cosign_verify(published.reference, published.key)
    for predicate_type in (PREDICATE_CHUNK_MANIFEST, SLSA):
        cosign_verify_attestation(published.reference, published.key, predicate_type)
    assert published.verify().digest == published.image.manifest.digest


def test_another_key_fails(published: Published) -> None:
    published.upload()
    reference, key = published.reference, published.other_key
    refused(lambda: cosign_verify(reference, key), "failed to verify signature")
    for predicate_type in (PREDICATE_CHUNK_MANIFEST, SLSA):
        refused(
            lambda kind=predicate_type: cosign_verify_attestation(reference, key, kind),  # type: ignore[misc]
            "failed to verify signature",
        )
    with pytest.raises(VerificationError, match="none of the trusted keys"):
        published.verify(OTHER)


def test_an_unsigned_image_fails(published: Published) -> None:
    unsigned = MemoryRegistry()
    unsigned.push_image(published.image, TAG)
    published.memory.__dict__.update(unsigned.__dict__)
    published.upload()
    reference, key = published.reference, published.key
    refused(lambda: cosign_verify(reference, key), "no signatures found")
    refused(lambda: cosign_verify_attestation(reference, key, PREDICATE_CHUNK_MANIFEST), "attestation")
    refused(lambda: cosign_verify_attestation(reference, key, SLSA), "attestation")
    with pytest.raises(VerificationError, match="has no bundle") as caught:
        published.verify()
    assert caught.value.rule is Rule.BUNDLES


def test_one_flipped_byte_in_the_chunk_manifest_fails(published: Published) -> None:
    reseal(published.memory, 4, edit_bundle(flip_payload), signed=published.signed)
    published.upload()
    reference, key = published.reference, published.key
    refused(lambda: cosign_verify_attestation(reference, key, PREDICATE_CHUNK_MANIFEST), "Error")
    cosign_verify_attestation(reference, key, SLSA)
    cosign_verify(reference, key)
    with pytest.raises(VerificationError) as caught:
        published.verify()
    assert caught.value.rule is Rule.SIGNATURE


def test_one_flipped_byte_in_a_resealed_chunk_list_fails(published: Published) -> None:
    def flip(raw: bytes) -> bytes:
        return raw[:80] + bytes([raw[80] ^ 1]) + raw[81:]

    reseal(published.memory, 0, flip, signed=published.signed)
    published.upload()
    cosign_verify(published.reference, published.key)
    with pytest.raises(VerificationError, match="does not hold the signed list") as caught:
        published.verify(deep=False)
    assert caught.value.rule is Rule.CONTENT


@pytest.mark.parametrize("what", ["chunk list", "blob", "bootstrap layer"])
def test_one_flipped_byte_on_the_registry_s_disk_fails(published: Published, what: str) -> None:
    published.upload()
    digest = {
        "chunk list": published.image.request.blobs[0][0].chunk_list.digest,
        "blob": published.image.manifest.layers[0].digest,
        "bootstrap layer": published.image.manifest.layers[-1].digest,
    }[what]
    path = published.registry.data_path(digest.hex)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(VerificationError):
        published.verify(deep=what != "chunk list")


def test_oras_finds_and_pulls_the_chunk_lists(published: Published, tmp_path: Path) -> None:
    published.upload()
    found = oras_discover(published.reference)
    assert {entry["digest"] for entry in found} == {
        str(artifact.manifest.digest) for artifact in published.signed.referrers
    }
    lists = [entry for entry in found if entry["artifactType"] == media_types.CHUNK_LIST]
    distinct = {blob.digest: (blob, content) for blob, content in published.image.request.blobs}
    assert len(lists) == len(distinct)
    pulled = tmp_path / "pulled"
    for entry in lists:
        oras_pull(f"{published.name}@{entry['digest']}", pulled)
    for digest, (_, content) in distinct.items():
        assert (pulled / f"sha256-{digest.hex}.chunklist").read_bytes() == content
    tag = f"sha256-{published.image.manifest.layers[0].digest.hex}.dh-chunklist"
    oras_pull(f"{published.name}:{tag}", tmp_path / "by tag")


def test_a_pulled_chunk_list_has_a_bundle_that_cosign_verifies(published: Published, tmp_path: Path) -> None:
    published.upload()
    blob = published.image.manifest.layers[0].digest
    oras_pull(f"{published.name}:sha256-{blob.hex}.dh-chunklist", tmp_path)
    arguments = (
        "verify-blob-attestation", "--insecure-ignore-tlog", "--key", published.key, "--type", PREDICATE_BLOB,
        "--bundle", tmp_path / f"sha256-{blob.hex}.chunklist.sigstore.json", "--digestAlg", "sha256",
    )  # fmt: skip
    run_program("cosign", *arguments, "--digest", blob.hex)
    refused(
        lambda: run_program("cosign", *arguments, "--digest", Digest.of(b"").hex), "does not match any digest"
    )


def test_the_classic_signature_alone(published: Published) -> None:
    """What a client that knows no bundles sees; cosign reads it too where there are no bundles."""
    memory = MemoryRegistry()
    memory.push_image(published.image, TAG)
    digest = published.image.manifest.digest
    other = simple_signature(published.name, digest, OTHER)
    merged = merge_simple_signatures(other.manifest.raw, published.signed.signature)
    for blob in (*other.blobs, *merged.blobs):
        assert isinstance(blob.content, bytes)
        memory.blobs[blob.descriptor.digest] = blob.content
    memory.put_manifest(merged.manifest.raw, merged.tag)
    published.memory.__dict__.update(memory.__dict__)
    published.upload()
    for key in (published.key, published.other_key):
        assert str(digest) in cosign_verify(published.reference, key)
    SigningKey.load_or_generate(published.keys / "third.pem")
    third = SigningKey.load(published.keys / "third.pem").public_key.pem
    (published.keys / "third.pub").write_bytes(third)
    refused(
        lambda: cosign_verify(published.reference, published.keys / "third.pub"), "no matching signatures"
    )


def test_an_index(published: Published) -> None:
    source_index = Digest.of(b"source index")
    children = tuple(
        synthetic_image(name, repository=published.name, platform=platform, source_index=source_index)
        for name, platform in (("amd", AMD64), ("arm", ARM64))
    )
    request = synthetic_index(children, source_index, published.name)
    memory = MemoryRegistry()
    for child in children:
        memory.push_image(child)
        memory.push_signed(sign_image(child.request, KEY))
    memory.put_manifest(request.index.raw, TAG)
    memory.push_signed(sign_index(request, KEY))
    published.memory.__dict__.update(memory.__dict__)
    published.upload()
    cosign_verify(published.reference, published.key)
    cosign_verify_attestation(published.reference, published.key, SLSA)
    report = published.verify()
    assert report.digest == request.index.digest
    assert len(report.images) == 2


def test_what_others_attach_does_no_harm(published: Published) -> None:
    """An SBOM by another tool, and a whole set of signatures by another key."""
    subject = published.image.manifest.descriptor
    tag = published.signed.fallback_tag
    statement_of_others = sign_image(published.image.request, OTHER)
    sbom = b'{"spdxVersion":"SPDX-2.3"}'
    published.memory.blobs[Digest.of(sbom)] = sbom
    config = Descriptor(media_types.OCI_EMPTY, Digest.of(b"{}"), 2).to_json()
    artifact = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "artifactType": "application/spdx+json",
        "config": config,
        "layers": [Descriptor("application/spdx+json", Digest.of(sbom), len(sbom)).to_json()],
        "subject": subject.to_json(),
    }
    raw = encode_json(artifact)
    published.memory.put_manifest(raw)
    published.memory.push_signed(statement_of_others)
    published.upload()
    assert published.memory.tagged(tag) is not None
    for key in (published.key, published.other_key):
        cosign_verify(published.reference, key)
        for predicate_type in (PREDICATE_CHUNK_MANIFEST, SLSA):
            cosign_verify_attestation(published.reference, key, predicate_type)
    published.verify(KEY)
    published.verify(OTHER)


def test_a_signature_by_cosign_counts_and_stays(published: Published, tmp_path: Path) -> None:
    """The plain signature may come from cosign itself, with the same key."""
    ours = published.signed
    without_sign = replace(ours, referrers=(*ours.referrers[:3], *ours.referrers[4:]))
    memory = MemoryRegistry()
    memory.push_image(published.image, TAG)
    memory.push_signed(without_sign)
    published.memory.__dict__.update(memory.__dict__)
    published.upload()
    with pytest.raises(VerificationError, match=f"no bundle of the type {PREDICATE_SIGN}"):
        published.verify()

    sign_with_cosign(published, tmp_path)
    found = published.client.referrers(REPOSITORY, ours.subject.digest)
    assert len(found) == len(without_sign.referrers) + 1
    published.verify()
    cosign_verify(published.reference, published.key)

    # cosign sorts the index by digest, but keeps what it finds; our next merge keeps cosign's entry in turn.
    existing = published.client.manifest(REPOSITORY, ours.fallback_tag)
    later = replace(published.image.request, issued_at=published.image.request.issued_at.replace(year=2027))
    merged = parse_manifest(merge_referrers(existing.raw, sign_image(later, KEY).entries))
    assert isinstance(merged, ImageIndex)
    cosign_entry = {entry.digest for entry in found} - {entry.digest for entry in ours.entries}
    assert len(cosign_entry) == 1
    assert cosign_entry <= {entry.digest for entry in merged.manifests}
    assert len(merged.manifests) == len(ours.entries) + 1


def sign_with_cosign(published: Published, directory: Path) -> None:
    (directory / "root.json").write_text(
        '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'
    )
    (directory / "config.json").write_text(
        '{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogConfig":{},"tsaConfig":{}}'
    )
    environ = {"COSIGN_PASSWORD": ""}
    key = GOLDEN / "key.pem"
    run_program("cosign", "import-key-pair", "--yes", "--key", key, environ=environ, cwd=directory)
    run_program(
        "cosign", "sign", "--yes", "--key", "import-cosign.key", "--signing-config", "config.json",
        "--trusted-root", "root.json", "--allow-http-registry", published.reference,
        environ=environ, cwd=directory,
    )  # fmt: skip


def test_a_referrer_that_was_deleted_but_is_still_listed(published: Published) -> None:
    published.upload()
    lost = published.signed.referrers[0].manifest.digest
    assert published.client.delete_manifest(REPOSITORY, lost)
    cosign_verify(published.reference, published.key)
    cosign_verify_attestation(published.reference, published.key, PREDICATE_CHUNK_MANIFEST)
    with pytest.raises(VerificationError) as caught:
        published.verify()
    assert caught.value.rule is Rule.CONTENT


def test_a_deleted_referrer_does_not_end_signing(published: Published) -> None:
    """What a garbage collector took away is still listed, and an index that lists it is refused."""
    published.upload()
    client, signed = published.client, published.signed
    lost = signed.referrers[4].manifest
    assert client.delete_manifest(REPOSITORY, lost.digest)
    existing = client.manifest(REPOSITORY, signed.fallback_tag).raw
    again = sign_image(published.image.request, OTHER)
    for artifact in again.referrers:
        for blob in artifact.blobs:
            client.put_blob(REPOSITORY, blob.descriptor, blob.content)
        client.put_manifest(REPOSITORY, artifact.tag, artifact.manifest.raw, artifact.manifest.media_type)

    raw = merge_referrers(existing, again.entries)
    with pytest.raises(RefusedError, match="MANIFEST_BLOB_UNKNOWN"):
        client.put_manifest(REPOSITORY, signed.fallback_tag, raw, media_types.OCI_INDEX)
    raw = merge_referrers(existing, again.entries, gone={str(lost.digest)})
    client.put_manifest(REPOSITORY, signed.fallback_tag, raw, media_types.OCI_INDEX)
    published.verify(OTHER)
