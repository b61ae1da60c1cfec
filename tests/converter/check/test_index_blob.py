"""Indexes of layers: any byte that is not as it should be is found, used or not."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path

import pytest

from converter.blob.spool_file import SpoolFile
from converter.check import check_image
from converter.check.index_blob import check_index_blob
from converter.errors import BlobError
from converter.oci import Descriptor, Digest, media_types
from converter.progress import NO_PROGRESS
from converter.zran.index_blob import write_index_blob
from converter.zran.layer import IndexedLayer, index_layer
from tests.converter.memory_files import nydus_files
from tests.converter.zran.layers import REFERENCE, Compress, flushed, gzip
from tests.images.layout import Image, build_image
from tests.images.tar import directory, encode_tar, file

_RANDOM = random.Random(5)
_WORDS = [_RANDOM.randbytes(6).hex().encode() for _ in range(2000)]
FILES = {
    **{f"f{number}": b" ".join(_RANDOM.choices(_WORDS, k=30_000)) for number in range(6)},
    "noise": _RANDOM.randbytes(300_000),
}
TAR = encode_tar([directory("d"), *(file(name, content) for name, content in FILES.items())])


def indexed(stored: bytes) -> tuple[IndexedLayer, Descriptor]:
    layer = Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(stored), len(stored))
    return index_layer(io.BytesIO(stored), layer, REFERENCE, NO_PROGRESS), layer


def findings(index: IndexedLayer, stored: bytes, layer: Descriptor, spool: Path) -> list[str]:
    """What a check says of the index when it is written as a blob that is sound in itself."""
    assert index.info is not None
    with SpoolFile(spool) as out:
        blob = write_index_blob(
            out, index.table, index.info, index.uncompressed_size, index.reference, index.tree, REFERENCE
        )
    said: list[str] = []
    with blob.path.open("rb") as opened:
        descriptor = Descriptor(media_types.NYDUS_BLOB, blob.digest, blob.size)
        check_index_blob(opened, descriptor, io.BytesIO(stored), layer, REFERENCE.chunk_size, said.append)
    return said


@pytest.mark.parametrize("compress", [gzip(), flushed, bytes], ids=["gzip", "flushed", "plain"])
def test_nothing_is_said_of_a_sound_index(compress: Compress, tmp_path: Path) -> None:
    stored = compress(TAR)
    index, layer = indexed(stored)
    assert findings(index, stored, layer, tmp_path) == []


def test_every_flipped_byte_of_contexts_and_windows_is_found(tmp_path: Path) -> None:
    stored = gzip()(TAR)
    index, layer = indexed(stored)
    assert index.info is not None
    start, size, count = index.info.contexts
    assert count > 1
    assert size > count * 40, "there should be windows"
    places = [start + _RANDOM.randrange(size) for _ in range(15)] + [
        start + offset for offset in range(8, 16)
    ]
    for place in places:
        encoded = bytearray(index.info.encoded)
        encoded[place] ^= 1 << _RANDOM.randrange(8)
        spoilt = replace(index, info=replace(index.info, encoded=bytes(encoded)))
        try:
            assert findings(spoilt, stored, layer, tmp_path), place
        except BlobError:
            continue  # it could not even be written


def test_a_flipped_byte_of_the_layer_is_found(tmp_path: Path) -> None:
    stored = gzip()(TAR)
    index, layer = indexed(stored)
    for place in (200_000, len(stored) // 2, len(stored) - 3):
        spoilt = stored[:place] + bytes([stored[place] ^ 4]) + stored[place + 1 :]
        try:
            assert findings(index, spoilt, layer, tmp_path)
        except BlobError as error:
            assert layer.digest.hex in str(error)  # noqa: PT017


def source() -> Image:
    upper = encode_tar([file("f0", b"new"), file("more", FILES["f1"])])
    return build_image([TAR, upper, encode_tar([directory("empty")])], ["gzip", "zstd", "gzip"])


def test_images_with_references_are_the_same(tmp_path: Path) -> None:
    image = source()
    files, made = nydus_files(image, tmp_path, REFERENCE)
    report = check_image(image.manifest, image.config, image.open_layer, made, files)
    assert report.lines == []


def test_a_reference_to_another_layer_is_found(tmp_path: Path) -> None:
    image, other = source(), build_image([encode_tar([file("f0", b"other")])])
    files, made = nydus_files(image, tmp_path, REFERENCE)
    report = check_image(other.manifest, other.config, other.open_layer, made, files)
    assert any("no layer of the source" in line for line in report.lines)
