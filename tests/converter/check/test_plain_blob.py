"""Conversions to RAFS v5, whose blobs do not say themselves what is in them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from converter.check import CheckReport, check_image
from converter.check.plain_blob import check_plain_blob
from converter.errors import BlobError
from converter.oci import Descriptor, Digest, ImageManifest, media_types
from converter.options import ConvertOptions
from converter.rafs.layout import Compressor, Digester
from tests.converter.memory_files import MemoryFiles, nydus_files
from tests.images.layout import Image, build_image
from tests.images.tar import directory, encode_tar, file, hardlink, symlink, whiteout

V5 = ConvertOptions(fs_version=5, chunk_size=4096, compressor="none", threads=1)
TWICE = [file("b", b"now"), file("a", b"before " * 1000), file("a", b"after" * 1000), file("c", b"now")]


def check(image: Image, files: MemoryFiles, made: ImageManifest) -> CheckReport:
    return check_image(image.manifest, image.config, image.open_layer, made, files)


@pytest.mark.parametrize("compressor", ["zstd", "lz4_block", "none"])
def test_a_conversion_is_right(compressor: str, tmp_path: Path) -> None:
    """Among its layers are equal ones, one without files, one that hides all, one with a path twice."""
    layer = [directory("d"), file("d/a", b"a" * 9000, xattrs={b"user.a": b"1"}), file("zeros", bytes(8192))]
    other = [hardlink("again", "d/a"), symlink("link", "d/a"), file("empty", b""), file("d/new", b"new")]
    layers = [layer, layer, [], other, [whiteout("d")], TWICE]
    image = build_image([encode_tar(entries) for entries in layers])
    options = ConvertOptions(fs_version=5, chunk_size=4096, compressor=compressor, threads=1)  # type: ignore[arg-type]
    files, made = nydus_files(image, tmp_path, options)
    report = check(image, files, made)
    assert report.lines == []
    assert report.file_bytes == 2 * (9000 + 8192) + 3 + 3 + 7000 + 5000 + 3


def test_content_that_its_own_layer_replaces_is_covered_by_the_digest_of_the_blob(tmp_path: Path) -> None:
    """No bootstrap says where it lies; how much there must be of it follows from the source."""
    image = build_image([encode_tar(TWICE)])
    files, made = nydus_files(image, tmp_path, V5)
    assert check(image, files, made).lines == []
    digest = made.layers[0].digest
    spoilt = files.blobs[digest].replace(b"before before", b"before befere", 1)
    assert spoilt != files.blobs[digest]
    files.blobs[digest] = spoilt
    assert check(image, files, made).lines == [f"blob {digest}: it has the digest {Digest.of(spoilt)}"]


def test_another_number_of_chunks_is_found(tmp_path: Path) -> None:
    """The image's bootstrap and that in the blob agree with each other, but not with the source."""
    files, made = nydus_files(build_image([encode_tar(TWICE)]), tmp_path, V5)
    once = build_image([encode_tar([TWICE[0], *TWICE[2:]])])
    assert any("it has 5 chunks, should have 3" in line for line in check(once, files, made).lines)


def test_a_blob_of_another_form_is_refused(tmp_path: Path) -> None:
    image = build_image([encode_tar(TWICE)])
    files, made = nydus_files(image, tmp_path, ConvertOptions(threads=1))
    blob = made.layers[0]
    with pytest.raises(BlobError, match="one of RAFS v5 has other ones"):
        check_plain_blob(
            io.BytesIO(files.blobs[blob.digest]), blob, Compressor.ZSTD, Digester.BLAKE3, pytest.fail
        )


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000])
def test_what_is_no_blob_is_refused(content: bytes) -> None:
    blob = Descriptor(media_types.NYDUS_BLOB, Digest.of(content), len(content))
    with pytest.raises(BlobError):
        check_plain_blob(io.BytesIO(content), blob, Compressor.ZSTD, Digester.BLAKE3, pytest.fail)
