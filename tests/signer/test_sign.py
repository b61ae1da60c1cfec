import json
from dataclasses import replace
from pathlib import Path

import pytest

from converter.chunk_manifest import ChunkManifest
from converter.oci import Descriptor, Digest, ImageManifest, encode_json, media_types, parse_manifest
from signer import (
    PREDICATE_PROVENANCE,
    PREDICATE_SIGN,
    InvalidRequestError,
    ReferrersError,
    SigningKey,
    merge_simple_signatures,
    sign_image,
    sign_index,
)
from signer.bundle import Bundle
from signer.simple_signing import ANNOTATION_SIGNATURE, simple_signature
from signer.statements import Statement
from tests.signer.golden.make_golden import SIGNED, SOURCE_INDEX, golden_key, signed
from tests.signer.synthetic import REPOSITORY, synthetic_image, synthetic_index
from tests.signer.test_keys import PKCS8

KEY = golden_key()
IMAGE = synthetic_image()
DIGEST = IMAGE.manifest.digest


def test_golden_bytes() -> None:
    assert signed() == json.loads(SIGNED.read_text())


def test_signing_twice_gives_the_same_bytes() -> None:
    assert sign_image(IMAGE.request, KEY) == sign_image(IMAGE.request, KEY)


def test_tags_in_push_order() -> None:
    artifacts = sign_image(IMAGE.request, KEY)
    blobs = [blob.digest for blob, _ in IMAGE.request.blobs]
    assert blobs[0] == blobs[3]
    lists = [f"sha256-{digest.hex}.dh-chunklist" for digest in blobs[:3]]
    bundles = [f"sha256-{DIGEST.hex}.{suffix}" for suffix in ("dh-sign", "dh-chunks", "dh-provenance")]
    assert [artifact.tag for artifact in artifacts.referrers] == lists + bundles
    assert artifacts.signature.tag == f"sha256-{DIGEST.hex}.sig"
    assert artifacts.fallback_tag == f"sha256-{DIGEST.hex}"


def test_every_referrer_names_the_image_and_brings_its_blobs() -> None:
    artifacts = sign_image(IMAGE.request, KEY)
    for artifact in artifacts.referrers:
        assert artifact.manifest.subject == IMAGE.manifest.descriptor
        named = [artifact.manifest.config, *artifact.manifest.layers]
        assert [blob.descriptor for blob in artifact.blobs] == named
        for blob in artifact.blobs:
            assert isinstance(blob.content, bytes)
            assert Digest.of(blob.content) == blob.descriptor.digest
    assert artifacts.signature.manifest.subject is None


def test_bundles_hold_one_statement_each_about_the_image_alone() -> None:
    artifacts = sign_image(IMAGE.request, KEY).referrers[3:]
    types = []
    for artifact in artifacts:
        content = artifact.blobs[1].content
        assert isinstance(content, bytes)
        bundle = Bundle.parse(content)
        bundle.verify(KEY.public_key)
        statement = Statement.parse(bundle.payload)
        assert (statement.subject, statement.subject_name) == (DIGEST, REPOSITORY)
        assert statement.predicate_type == artifact.manifest.annotations["dev.sigstore.bundle.predicateType"]
        types.append(statement.predicate_type)
    assert types == [PREDICATE_SIGN, "https://dragonhook.dev/chunk-manifest/v1", PREDICATE_PROVENANCE]


def test_the_chunk_manifest_states_the_request() -> None:
    content = sign_image(IMAGE.request, KEY).referrers[4].blobs[1].content
    assert isinstance(content, bytes)
    chunks = ChunkManifest.from_predicate(Statement.parse(Bundle.parse(content).payload).predicate)
    assert chunks.source == IMAGE.request.source
    assert chunks.bootstrap == IMAGE.request.bootstrap
    assert chunks.blobs == tuple(blob for blob, _ in IMAGE.request.blobs)
    assert chunks.target.platform == IMAGE.request.platform
    assert chunks.issued_at == "2026-11-23T19:20:08Z"
    chunks.check_image(IMAGE.manifest)


def test_chunk_lists_may_be_files(tmp_path: Path) -> None:
    blobs = []
    for number, (blob, content) in enumerate(IMAGE.request.blobs):
        assert isinstance(content, bytes)
        path = tmp_path / str(number)
        path.write_bytes(content)
        blobs.append((blob, path))
    artifacts = sign_image(replace(IMAGE.request, blobs=tuple(blobs)), KEY)
    assert [a.manifest.raw for a in artifacts.referrers] == [
        a.manifest.raw for a in sign_image(IMAGE.request, KEY).referrers
    ]
    assert artifacts.referrers[1].blobs[1].content == tmp_path / "1"


def test_an_index_gets_signature_and_provenance() -> None:
    request = synthetic_index((IMAGE,), SOURCE_INDEX)
    artifacts = sign_index(request, KEY)
    digest = request.index.digest
    assert [artifact.tag for artifact in artifacts.referrers] == [
        f"sha256-{digest.hex}.dh-sign",
        f"sha256-{digest.hex}.dh-provenance",
    ]
    assert artifacts.subject == request.index.descriptor
    assert artifacts.signature.tag == f"sha256-{digest.hex}.sig"


@pytest.mark.parametrize(
    ("blobs", "reason"),
    [
        (IMAGE.request.blobs[:3], "are not its blobs and bootstrap in order"),
        (IMAGE.request.blobs[::-1], "are not its blobs and bootstrap in order"),
    ],
)
def test_what_does_not_fit_together_is_not_signed(blobs: object, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"{DIGEST} cannot be signed: .*{reason}"):
        sign_image(replace(IMAGE.request, blobs=blobs), KEY)  # type: ignore[arg-type]  # any slice of the tuple


def test_times_without_a_zone_are_not_signed() -> None:
    naive = IMAGE.request.issued_at.replace(tzinfo=None)
    with pytest.raises(InvalidRequestError, match="time zone"):
        sign_image(replace(IMAGE.request, issued_at=naive), KEY)
    for field in ("started_on", "finished_on"):
        build = replace(IMAGE.request.build, **{field: naive})  # type: ignore[arg-type]  # both are times
        with pytest.raises(InvalidRequestError, match="time zone"):
            sign_image(replace(IMAGE.request, build=build), KEY)


def test_simple_signature() -> None:
    artifact = simple_signature(REPOSITORY, DIGEST, KEY)
    (layer,) = artifact.manifest.layers
    payload = artifact.blobs[1].content
    assert payload == (
        b'{"critical":{"identity":{"docker-reference":"registry.test:5000/demo/app"},'
        b'"image":{"docker-manifest-digest":"%s"},"type":"cosign container image signature"},'
        b'"optional":{"creator":"dragonhook"}}' % str(DIGEST).encode()
    )
    assert layer.digest == Digest.of(payload)
    assert layer.media_type == media_types.COSIGN_SIMPLE_SIGNING
    config = artifact.blobs[0].content
    assert isinstance(config, bytes)
    assert json.loads(config)["rootfs"]["diff_ids"] == [str(layer.digest)]


def test_merging_simple_signatures_keeps_those_of_others() -> None:
    ours = simple_signature(REPOSITORY, DIGEST, KEY)
    other = simple_signature(REPOSITORY, DIGEST, SigningKey.from_pem(PKCS8))
    assert merge_simple_signatures(None, ours) is ours
    assert merge_simple_signatures(ours.manifest.raw, ours).manifest == ours.manifest
    both = merge_simple_signatures(other.manifest.raw, ours)
    assert both.manifest.layers == (*other.manifest.layers, *ours.manifest.layers)
    assert merge_simple_signatures(both.manifest.raw, ours).manifest == both.manifest
    config = both.blobs[0].content
    assert isinstance(config, bytes)
    assert len(json.loads(config)["rootfs"]["diff_ids"]) == 2
    assert both.blobs[1:] == ours.blobs[1:]
    signatures = [layer.annotations[ANNOTATION_SIGNATURE] for layer in both.manifest.layers]
    assert len(set(signatures)) == 2


def artifact_with(layers: list[Descriptor]) -> bytes:
    config = Descriptor(media_types.OCI_CONFIG, Digest.of(b"{}"), 2).to_json()
    return encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": config,
            "layers": [layer.to_json() for layer in layers],
        }
    )


@pytest.mark.parametrize(
    ("existing", "reason"),
    [
        (b"garbage", "no manifest that can be read"),
        (IMAGE.manifest.raw, "something else than signatures"),
        (synthetic_index((IMAGE,), SOURCE_INDEX).index.raw, "something else than signatures"),
        (
            artifact_with(
                [
                    Descriptor(media_types.COSIGN_SIMPLE_SIGNING, Digest.of(b"%d" % number), 1)
                    for number in range(64)
                ]
            ),
            "64 signatures already",
        ),
    ],
)
def test_other_content_under_the_signature_tag_is_not_overwritten(existing: bytes, reason: str) -> None:
    with pytest.raises(ReferrersError, match=reason):
        merge_simple_signatures(existing, simple_signature(REPOSITORY, DIGEST, KEY))


def test_the_golden_manifests_are_manifests() -> None:
    for tag, shown in json.loads(SIGNED.read_text()).items():
        manifest = parse_manifest(encode_json(shown["manifest"]))
        assert str(manifest.digest) == shown["digest"], tag
        assert isinstance(manifest, ImageManifest) == ("." in tag)
