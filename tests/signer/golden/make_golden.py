"""Writes what signing the synthetic image and index must give: `python -m tests.signer.golden.make_golden`.

`signed.json` maps each tag to its manifest and the text of its small blobs. The signatures are deterministic,
so a difference means that statements, canonical bytes, manifests or signatures have changed, and that
registries full of signed images will be written to again. `key.pem` is a test key that protects nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from converter.oci import Digest, parse_manifest
from signer import SignedArtifacts, SigningKey, merge_referrers, sign_image, sign_index
from signer.bundle import Bundle
from tests.signer.synthetic import synthetic_image, synthetic_index

HERE = Path(__file__).parent
SIGNED = HERE / "signed.json"
SOURCE_INDEX = Digest.of(b"source index")


def golden_key() -> SigningKey:
    """The test key."""
    return SigningKey.from_pem((HERE / "key.pem").read_bytes())


def signed() -> dict[str, Any]:
    """All artifacts as readable JSON."""
    # Uncompressed, so that no byte depends on a version of zlib.
    image = synthetic_image(source_index=SOURCE_INDEX, compressed=False)
    index = synthetic_index((image,), SOURCE_INDEX)
    return {
        **_readable(sign_image(image.request, golden_key())),
        **_readable(sign_index(index, golden_key())),
    }


def _readable(artifacts: SignedArtifacts) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for artifact in (*artifacts.referrers, artifacts.signature):
        blobs = [blob.content for blob in artifact.blobs if isinstance(blob.content, bytes)]
        shown[artifact.tag] = {
            "digest": str(artifact.manifest.digest),
            "manifest": json.loads(artifact.manifest.raw),
            "blobs": [raw.hex() if raw.startswith(b"NYCL") else raw.decode() for raw in blobs],
            "statements": [
                json.loads(Bundle.parse(raw).payload) for raw in blobs if raw.startswith(b'{"mediaType"')
            ],
        }
    fallback = merge_referrers(None, artifacts.entries)
    shown[artifacts.fallback_tag] = {
        "digest": str(parse_manifest(fallback).digest),
        "manifest": json.loads(fallback),
        "blobs": [],
    }
    return shown


if __name__ == "__main__":
    SIGNED.write_text(json.dumps(signed(), indent=1, ensure_ascii=False) + "\n")
