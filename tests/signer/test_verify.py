"""Rules 1, 5 and 6, and indexes, passing and failing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from converter.chunk_manifest import PREDICATE_CHUNK_MANIFEST
from converter.oci import (
    Descriptor,
    Digest,
    ImageIndex,
    encode_json,
    fallback_tag,
    media_types,
    parse_manifest,
)
from signer import (
    PREDICATE_PROVENANCE,
    PREDICATE_SIGN,
    Rule,
    VerificationPolicy,
    sign_image,
    sign_index,
)
from tests.signer.memory_registry import MemoryRegistry
from tests.signer.published import (
    IMAGE,
    KEY,
    OTHER,
    POLICY,
    TAG,
    Json,
    edited_predicate,
    pushed,
    refused,
    verify,
)
from tests.signer.synthetic import AMD64, ARM64, REPOSITORY, synthetic_image, synthetic_index


def test_a_signed_image() -> None:
    report = verify(pushed())
    assert report.digest == IMAGE.manifest.digest
    assert report.reference == TAG
    assert report.index is None
    assert [rule.value for rule in report.rules] == [1, 2, 3, 4, 5, 6, 9]
    (image,) = report.images
    assert [signed.predicate_type for signed in image.signatures] == [
        PREDICATE_SIGN, PREDICATE_CHUNK_MANIFEST, PREDICATE_PROVENANCE,
    ]  # fmt: skip
    assert {signed.key_hint for signed in image.signatures} == {KEY.public_key.hint}
    assert image.chunk_manifest.source == IMAGE.request.source
    assert image.provenance.source_digest == IMAGE.request.source.digest
    assert image.chunk_count == 5 + 2 + 0


def test_by_digest_and_with_a_source_policy() -> None:
    policy = replace(POLICY, source_digests=frozenset({IMAGE.request.source.digest}))
    assert verify(pushed(), policy, str(IMAGE.manifest.digest)).digest == IMAGE.manifest.digest


def test_one_of_several_keys_is_enough() -> None:
    verify(pushed(), replace(POLICY, keys=(OTHER.public_key, KEY.public_key)))


def test_a_shallow_check_reads_no_layer_and_a_deep_one_each_once() -> None:
    registry = pushed()
    verify(registry)
    layers = {layer.digest for layer in IMAGE.manifest.layers}
    assert not layers & set(registry.blob_reads)
    registry.blob_reads.clear()
    assert verify(registry, deep=True).deep
    assert sorted(digest for digest in registry.blob_reads if digest in layers) == sorted(layers)


def test_an_uncompressed_bootstrap_layer() -> None:
    image = synthetic_image(compressed=False)
    verify(pushed(image, sign_image(image.request, KEY)), deep=True)


@pytest.mark.parametrize("missing", ["keys", "repositories", "builder_ids"])
def test_a_policy_that_allows_nothing(missing: str) -> None:
    parts = {"keys": POLICY.keys, "repositories": POLICY.repositories, "builder_ids": POLICY.builder_ids}
    with pytest.raises(ValueError, match="at least one"):
        VerificationPolicy(**{**parts, missing: ()})  # type: ignore[arg-type]  # empty, whatever the type


def test_a_list_of_referrers_that_is_none() -> None:
    registry = pushed()
    registry.put_manifest(b"junk", fallback_tag(IMAGE.manifest.digest))
    refused(registry, Rule.BUNDLES, f"what is attached to {IMAGE.manifest.digest} cannot be read")


class TestRule1Resolve:
    def test_no_such_tag(self) -> None:
        registry = pushed()
        del registry.tags[TAG]
        refused(
            registry, Rule.RESOLVE, "there is no v1-nydus in the repository demo/app, or no such repository"
        )

    def test_the_tag_is_resolved_once(self) -> None:
        """A tag that moves during the check has no influence on it."""
        registry, asked = pushed(), []
        real = registry.resolve

        def resolve(repository: str, reference: str) -> Descriptor | None:
            asked.append(reference)
            found = real(repository, reference)
            if reference == TAG:
                del registry.tags[TAG]
            return found

        registry.resolve = resolve  # type: ignore[method-assign]  # watches what is asked
        assert verify(registry).digest == IMAGE.manifest.digest
        assert asked.count(TAG) == 1

    def test_another_manifest_than_asked_for(self) -> None:
        registry = pushed()
        registry.manifests[IMAGE.manifest.digest] = synthetic_image("other").manifest.raw
        refused(registry, Rule.RESOLVE, "asked for .* received")

    def test_a_manifest_that_is_none(self) -> None:
        registry = pushed()
        real = registry.manifest
        broken = b'{"schemaVersion":2}'
        registry.manifest = lambda repository, reference: (  # type: ignore[method-assign]
            parse_manifest(broken) if reference == str(IMAGE.manifest.digest) else real(repository, reference)
        )
        refused(registry, Rule.RESOLVE, "cannot be read")


class TestRule5ChunkManifest:
    @pytest.mark.parametrize(
        ("edit", "reason"),
        [
            (lambda p: p.update(schema=2), "schema should be 1"),
            (lambda p: p["target"].update(size=1), "it is about"),
            (lambda p: p["target"]["digest"].update(sha256="0" * 64), "it is about sha256:000"),
            (lambda p: p["blobs"].pop(), "are not its blobs and bootstrap"),
            (lambda p: p["blobs"].reverse(), "are not its blobs and bootstrap"),
            (lambda p: p["blobs"][1].update(size=5), "are not its blobs and bootstrap"),
            (
                lambda p: p["bootstrap"]["layerDigest"].update(sha256="0" * 64),
                "are not its blobs and bootstrap",
            ),
            (lambda p: p["blobs"][1]["list"].update(size=64), "0 records"),
        ],
    )
    def test_it_does_not_describe_the_image(self, edit: Callable[[Json], object], reason: str) -> None:
        refused(edited_predicate(PREDICATE_CHUNK_MANIFEST, edit), Rule.CHUNK_MANIFEST, reason)

    def test_a_copy_in_another_repository(self) -> None:
        policy = replace(POLICY, repositories=frozenset({"registry.test:5000/other"}))
        refused(pushed(), Rule.CHUNK_MANIFEST, f"for the repository {REPOSITORY}, not registry.test", policy)

    def test_a_mirror_by_explicit_mapping(self) -> None:
        verify(pushed(), replace(POLICY, repositories=frozenset({"mirror.test/app", REPOSITORY})))

    def test_a_good_statement_counts_next_to_a_bad_one_of_another_trusted_key(self) -> None:
        registry = pushed()
        elsewhere = synthetic_image(repository="elsewhere.test/app")
        assert elsewhere.manifest.digest == IMAGE.manifest.digest
        registry.push_signed(sign_image(elsewhere.request, OTHER))
        verify(registry, replace(POLICY, keys=(OTHER.public_key, KEY.public_key)))


class TestRule6Provenance:
    @pytest.mark.parametrize(
        ("edit", "reason"),
        [
            (
                lambda p: p["runDetails"]["builder"].update(id="https://evil.test"),
                "builder is https://evil.test",
            ),
            (
                lambda p: p["buildDefinition"].update(buildType="https://evil.test"),
                "build type is https://evil",
            ),
            (lambda p: p.pop("runDetails"), "provenance.runDetails"),
            (
                lambda p: p["buildDefinition"]["resolvedDependencies"][0]["digest"].update(sha256="0" * 64),
                "its source is sha256:000",
            ),
        ],
    )
    def test_other_builds(self, edit: Callable[[Json], object], reason: str) -> None:
        refused(edited_predicate(PREDICATE_PROVENANCE, edit), Rule.PROVENANCE, reason)

    def test_a_builder_that_is_not_trusted(self) -> None:
        policy = replace(POLICY, builder_ids=frozenset({"https://example.org/ours"}))
        refused(pushed(), Rule.PROVENANCE, "builder is https://dragonhook.dev/builder, which is not", policy)

    def test_a_source_that_is_not_allowed(self) -> None:
        policy = replace(POLICY, source_digests=frozenset({Digest.of(b"newer source")}))
        refused(pushed(), Rule.PROVENANCE, "which is not an allowed one", policy)

    def test_the_index_of_the_source_may_be_the_allowed_one(self) -> None:
        image = synthetic_image(source_index=Digest.of(b"index"))
        registry = pushed(image, sign_image(image.request, KEY))
        verify(registry, replace(POLICY, source_digests=frozenset({Digest.of(b"index")})))

    def test_chunk_manifest_and_provenance_disagree(self) -> None:
        def edit(predicate: Json) -> None:
            predicate["source"]["digest"]["sha256"] = "0" * 64

        refused(
            edited_predicate(PREDICATE_CHUNK_MANIFEST, edit),
            Rule.PROVENANCE,
            "the chunk manifest says sha256:000",
        )

    def test_the_manifest_s_subject_is_another_source(self) -> None:
        other = replace(IMAGE.request.source, digest=Digest.of(b"other"))
        registry = pushed(signed=sign_image(replace(IMAGE.request, source=other), KEY))
        refused(registry, Rule.PROVENANCE, "the subject says")


SOURCE_INDEX = Digest.of(b"source index")
CHILDREN = (
    synthetic_image("amd", platform=AMD64, source_index=SOURCE_INDEX),
    synthetic_image("arm", platform=ARM64, source_index=SOURCE_INDEX),
)
INDEX = synthetic_index(CHILDREN, SOURCE_INDEX)


def pushed_index(*, sign_children: int = 2, sign_the_index: bool = True) -> MemoryRegistry:
    registry = MemoryRegistry()
    for number, child in enumerate(CHILDREN):
        registry.push_image(child)
        if number < sign_children:
            registry.push_signed(sign_image(child.request, KEY))
    registry.put_manifest(INDEX.index.raw, TAG)
    if sign_the_index:
        registry.push_signed(sign_index(INDEX, KEY))
    return registry


class TestIndexes:
    def test_a_signed_index(self) -> None:
        policy = replace(POLICY, source_digests=frozenset({SOURCE_INDEX}))
        report = verify(pushed_index(), policy, deep=True)
        assert report.digest == INDEX.index.digest
        assert report.index is not None
        assert [signed.predicate_type for signed in report.index.signatures] == [
            PREDICATE_SIGN, PREDICATE_PROVENANCE,
        ]  # fmt: skip
        assert report.index.provenance.source_digest == SOURCE_INDEX
        assert [image.digest for image in report.images] == [child.manifest.digest for child in CHILDREN]

    def test_an_index_without_signature(self) -> None:
        refused(pushed_index(sign_the_index=False), Rule.BUNDLES, f"{INDEX.index.digest} has no bundle")

    def test_a_child_without_signature(self) -> None:
        place = rf"child {CHILDREN[1].manifest.digest} \(linux/arm64/v8\): "
        refused(pushed_index(sign_children=1), Rule.BUNDLES, place)

    def test_the_source_policy_is_about_the_index(self) -> None:
        policy = replace(POLICY, source_digests=frozenset({CHILDREN[0].request.source.digest}))
        refused(pushed_index(), Rule.PROVENANCE, f"its source is {SOURCE_INDEX}, which is not", policy)

    def test_a_child_with_a_bad_chunk_list(self) -> None:
        registry = pushed_index()
        registry.blobs[CHILDREN[1].request.blobs[0][0].chunk_list.digest] = b""
        refused(registry, Rule.CONTENT, f"child {CHILDREN[1].manifest.digest}")

    def test_a_child_for_another_platform(self) -> None:
        registry = pushed_index(sign_the_index=False)
        document = json.loads(INDEX.index.raw)
        for entry in document["manifests"]:
            entry["platform"] = ARM64.to_json()
        index = parse_manifest(registry_bytes := encode_json(document))
        assert isinstance(index, ImageIndex)
        registry.put_manifest(registry_bytes, TAG)
        registry.push_signed(sign_index(replace(INDEX, index=index), KEY))
        refused(registry, Rule.CHUNK_MANIFEST, "it was signed for linux/amd64")

    def test_an_index_may_name_no_variant(self) -> None:
        document = json.loads(INDEX.index.raw)
        for entry in document["manifests"]:
            entry["platform"].pop("variant", None)
        index = parse_manifest(encode_json(document))
        assert isinstance(index, ImageIndex)
        registry = pushed_index(sign_the_index=False)
        registry.put_manifest(index.raw, TAG)
        registry.push_signed(sign_index(replace(INDEX, index=index), KEY))
        assert len(verify(registry).images) == 2

    @pytest.mark.parametrize(("count", "reason"), [(0, "0 children"), (513, "513 children")])
    def test_the_number_of_children_is_bounded(self, count: int, reason: str) -> None:
        registry = MemoryRegistry()
        children = [
            Descriptor(media_types.OCI_MANIFEST, Digest.of(b"%d" % n), 1).to_json() for n in range(count)
        ]
        raw = encode_json({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": children})
        registry.put_manifest(raw, TAG)
        refused(registry, Rule.RESOLVE, reason)

    def test_an_index_in_an_index(self) -> None:
        registry = MemoryRegistry()
        inner = encode_json({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": []})
        child = Descriptor(media_types.OCI_INDEX, registry.put_manifest(inner), len(inner)).to_json()
        outer = encode_json({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [child]})
        registry.put_manifest(outer, TAG)
        index = parse_manifest(outer)
        assert isinstance(index, ImageIndex)
        registry.push_signed(sign_index(replace(INDEX, index=index), KEY))
        refused(registry, Rule.RESOLVE, "it is an index itself")
