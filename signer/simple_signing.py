"""The classic signature under the tag `sha256-<hex>.sig`, for readers that know no bundles.

Payload: containers/image `docs/containers-signature.5.md`. Manifest: cosign `specs/SIGNATURE_SPEC.md`, one
layer for each signature, with the signature itself in an annotation of the layer.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from converter.oci import (
    Descriptor,
    Digest,
    ImageManifest,
    OciError,
    encode_json,
    media_types,
    parse_manifest,
)
from signer.attach import Artifact, ArtifactBlob, artifact, inline_blob
from signer.errors import ReferrersError
from signer.keys import Signer

ANNOTATION_SIGNATURE: Final = "dev.cosignproject.cosign/signature"
MAX_SIGNATURES: Final = 64
_NO_TIME: Final = "0001-01-01T00:00:00Z"


def signature_tag(digest: Digest) -> str:
    """The tag of the classic signatures of `digest`."""
    return f"sha256-{digest.hex}.sig"


def simple_signature(repository: str, digest: Digest, signer: Signer) -> Artifact:
    """Signs an image in the classic way.

    Args:
        repository: with host; readers of the podman family compare it with the name they pull.
        digest: of the converted image or index.
        signer: the key.

    Returns:
        The manifest with this one signature. Where the tag holds others, merge them first.
    """
    payload = encode_json(
        {
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": str(digest)},
                "type": "cosign container image signature",
            },
            "optional": {"creator": "dragonhook"},
        }
    )
    signature = base64.b64encode(signer.sign(payload)).decode()
    blob = inline_blob(media_types.COSIGN_SIMPLE_SIGNING, payload, {ANNOTATION_SIGNATURE: signature})
    return _build(signature_tag(digest), [blob.descriptor], (blob,))


def merge_simple_signatures(existing: bytes | None, ours: Artifact) -> Artifact:
    """Adds our signature to those that the tag holds; the signatures of others stay.

    Args:
        existing: the manifest under the tag, or None where there is none.
        ours: from `simple_signature`.

    Raises:
        ReferrersError: the tag holds something else than signatures, or 64 of them already.
    """
    if existing is None:
        return ours
    try:
        manifest = parse_manifest(existing)
    except OciError as error:
        raise ReferrersError(f"tag {ours.tag} holds no manifest that can be read: {error}") from error
    if not isinstance(manifest, ImageManifest) or any(
        layer.media_type != media_types.COSIGN_SIMPLE_SIGNING for layer in manifest.layers
    ):
        raise ReferrersError(
            f"tag {ours.tag} holds something else than signatures; look at it, then delete the tag"
        )
    (added,) = ours.manifest.layers
    if any(_signature(layer) == _signature(added) for layer in manifest.layers):
        layers: Sequence[Descriptor] = manifest.layers
    else:
        layers = (*manifest.layers, added)
    if len(layers) > MAX_SIGNATURES:
        raise ReferrersError(
            f"tag {ours.tag} holds {len(manifest.layers)} signatures already; delete old ones"
        )
    return _build(ours.tag, layers, ours.blobs[1:])


def _signature(layer: Descriptor) -> tuple[Digest, str | None]:
    return layer.digest, layer.annotations.get(ANNOTATION_SIGNATURE)


def _build(tag: str, layers: Sequence[Descriptor], new_blobs: Sequence[ArtifactBlob]) -> Artifact:
    # A real image config, one diff id for each layer: cosign's reader takes the manifest for an image.
    config = inline_blob(
        media_types.OCI_CONFIG,
        encode_json(
            {
                "architecture": "",
                "config": {},
                "created": _NO_TIME,
                "history": [{"created": _NO_TIME}],
                "os": "",
                "rootfs": {"diff_ids": [str(layer.digest) for layer in layers], "type": "layers"},
            }
        ),
    )
    return artifact(tag, config, layers, new_blobs)
