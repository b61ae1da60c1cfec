"""What is converted and what is left alone, told from content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from converter.classify import Kind, check_convertible, classify
from converter.errors import UnsupportedImageError
from converter.oci import Digest, encode_json, media_types, parse_manifest

DIGEST = str(Digest.of(b""))
NYDUS_MARKS = (media_types.ANNOTATION_NYDUS_BLOB, media_types.ANNOTATION_NYDUS_BOOTSTRAP)


def descriptor(media_type: str, **fields: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": DIGEST, "size": 0, **fields}


def image(*layers: str | dict[str, Any], config: str = media_types.OCI_CONFIG, **fields: Any) -> bytes:
    return encode_json(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": descriptor(config),
            "layers": [descriptor(layer) if isinstance(layer, str) else layer for layer in layers],
            **fields,
        }
    )


def index(*entries: dict[str, Any], **fields: Any) -> bytes:
    return encode_json(
        {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": list(entries), **fields}
    )


def platform(os: str = "linux", features: Sequence[str] = ()) -> dict[str, Any]:
    return {"platform": {"os": os, "architecture": "amd64", "os.features": list(features)}}


GZIP = media_types.OCI_LAYER_GZIP
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
OTHER = "application/vnd.example.artifact.v1"


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (image(GZIP), Kind.IMAGE),
        (image(*media_types.LAYER_TYPES), Kind.IMAGE),
        (image(), Kind.IMAGE),
        (image(GZIP, config=media_types.DOCKER_CONFIG), Kind.IMAGE),
        (image(GZIP, media_types.NYDUS_BLOB), Kind.NYDUS),
        (image(GZIP, descriptor(GZIP, annotations={NYDUS_MARKS[0]: "true"})), Kind.NYDUS),
        (image(descriptor(GZIP, annotations={NYDUS_MARKS[1]: "true"})), Kind.NYDUS),
        (image(media_types.NYDUS_BLOB, subject=descriptor(media_types.OCI_MANIFEST)), Kind.NYDUS),
        (image(GZIP, artifactType=OTHER), Kind.ARTIFACT),
        (image(GZIP, subject=descriptor(media_types.OCI_MANIFEST)), Kind.ARTIFACT),
        (image(GZIP, config=media_types.OCI_EMPTY), Kind.ARTIFACT),
        (image(GZIP, config="application/vnd.cncf.helm.config.v1+json"), Kind.ARTIFACT),
        (image(media_types.COSIGN_SIMPLE_SIGNING), Kind.ARTIFACT),
        (image("application/vnd.in-toto+json"), Kind.ARTIFACT),
        (image(media_types.SIGSTORE_BUNDLE, config=media_types.OCI_EMPTY), Kind.ARTIFACT),
        (image(GZIP, FOREIGN), Kind.FOREIGN),
        (image(GZIP + "+encrypted"), Kind.UNSUPPORTED),
        (index(descriptor(media_types.OCI_MANIFEST, **platform())), Kind.INDEX),
        (index(descriptor(media_types.OCI_MANIFEST)), Kind.INDEX),
        (
            index(
                descriptor(media_types.OCI_MANIFEST, **platform("unknown")),
                descriptor(media_types.DOCKER_MANIFEST, **platform()),
            ),
            Kind.INDEX,
        ),
        (index(), Kind.ARTIFACT),
        (index(descriptor(media_types.OCI_MANIFEST, artifactType=OTHER)), Kind.ARTIFACT),
        (index(descriptor(media_types.OCI_MANIFEST, **platform("unknown"))), Kind.ARTIFACT),
        (index(descriptor(OTHER)), Kind.ARTIFACT),
        (
            index(descriptor(media_types.OCI_MANIFEST, **platform(features=["nydus.remoteimage.v1"]))),
            Kind.ARTIFACT,
        ),
        (index(descriptor(media_types.OCI_MANIFEST), artifactType=OTHER), Kind.ARTIFACT),
        (
            index(descriptor(media_types.OCI_MANIFEST), subject=descriptor(media_types.OCI_INDEX)),
            Kind.ARTIFACT,
        ),
        (
            index(
                descriptor(media_types.OCI_MANIFEST, **platform()),
                subject=descriptor(media_types.OCI_INDEX),
                annotations={media_types.ANNOTATION_SOURCE_DIGEST: DIGEST},
            ),
            Kind.NYDUS,
        ),
    ],
)
def test_classify(raw: bytes, kind: Kind) -> None:
    assert classify(parse_manifest(raw)) is kind


MADE = {media_types.ANNOTATION_SOURCE_DIGEST: DIGEST}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (image(media_types.NYDUS_BLOB), "is a Nydus image already$"),
        (
            image(media_types.NYDUS_BLOB, annotations=MADE),
            f"Nydus image already, made from {DIGEST}: name that instead$",
        ),
        (image(media_types.EROFS_LAYER, annotations=MADE), "is an EROFS image already, made from sha256:"),
        (
            index(descriptor(media_types.OCI_MANIFEST), annotations=MADE),
            "is an index of converted images already, made",
        ),
        (image(OTHER), "is not an image of tar layers but an artifact, like a signature or a chart$"),
        (image(GZIP, FOREIGN), "its layer 2 of 2 .* may not be distributed"),
    ],
)
def test_what_cannot_be_converted_is_told(raw: bytes, message: str) -> None:
    with pytest.raises(UnsupportedImageError, match=message):
        check_convertible(parse_manifest(raw), include_foreign=False)
