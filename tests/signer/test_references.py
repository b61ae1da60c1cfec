"""Images that leave data in layers of the source: those layers are covered like the blobs of the image."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from converter.chunk_manifest import PREDICATE_CHUNK_MANIFEST
from signer import InvalidRequestError, Rule, sign_image
from signer.attach import chunk_list_tag
from signer.statements import Statement
from tests.signer.published import KEY, pushed, refused, restated, verify
from tests.signer.synthetic import synthetic_image

IMAGE = synthetic_image(refers=True)
SIGNED = sign_image(IMAGE.request, KEY)
((LAYER, _),) = IMAGE.request.references


def test_a_signed_image() -> None:
    report = verify(pushed(IMAGE, SIGNED), deep=True)
    (image,) = report.images
    assert image.chunk_manifest.references == (LAYER,)
    assert image.provenance.source_digest == IMAGE.request.source.digest


def test_the_layer_has_a_list_of_its_own() -> None:
    assert chunk_list_tag(LAYER.digest) in [artifact.tag for artifact in SIGNED.referrers]
    registry = pushed(IMAGE, SIGNED)
    (artifact,) = (a for a in SIGNED.referrers if a.tag == chunk_list_tag(LAYER.digest))
    del registry.tags[artifact.tag]
    del registry.manifests[artifact.manifest.digest]
    refused(registry, Rule.CONTENT, "missing")


@pytest.mark.parametrize("at", [0, 20, -1])
def test_a_flipped_byte_in_the_layer(at: int) -> None:
    registry = pushed(IMAGE, SIGNED)
    content = bytearray(registry.blobs[LAYER.digest])
    content[at] ^= 1
    registry.blobs[LAYER.digest] = bytes(content)
    verify(registry)
    refused(registry, Rule.CONTENT, str(LAYER.digest), deep=True)


def test_a_chunk_manifest_that_leaves_the_layer_out() -> None:
    def leave_out(statement: Statement) -> Statement:
        predicate = json.loads(json.dumps(dict(statement.predicate)))
        del predicate["references"]
        return replace(statement, predicate=predicate)

    refused(restated(PREDICATE_CHUNK_MANIFEST, leave_out, IMAGE), Rule.CHUNK_MANIFEST, "described are none")


def test_what_is_signed_must_be_what_the_manifest_refers_to() -> None:
    with pytest.raises(InvalidRequestError, match="described are none"):
        sign_image(replace(IMAGE.request, references=()), KEY)
    other = synthetic_image().request
    with pytest.raises(InvalidRequestError, match="refer to nothing"):
        sign_image(replace(other, references=IMAGE.request.references), KEY)
