"""Nydus images opened for reading: every file comes back, and nothing wrong is handed out."""

from __future__ import annotations

import gzip
import io
import random
import stat
import tarfile
from pathlib import Path

import pytest

from converter.bootstrap_reader import read_bootstrap_layer
from converter.errors import BlobError, BootstrapError, ConvertError, UnsupportedImageError
from converter.nydus_image import NydusImage
from converter.oci import Digest
from converter.options import ConvertOptions
from tests.converter.layers import paths
from tests.converter.memory_files import MemoryFiles, nydus_files
from tests.images.layout import Image, build_image
from tests.images.tar import directory, encode_tar, file, hardlink

NOISE = random.Random(7).randbytes(9000)
LAYERS = (
    [directory("d"), file("d/noise", NOISE), file("d/text", b"text" * 3000), file("empty", b"")],
    [file("d/new", b"new" + NOISE[:5000]), hardlink("again", "d/new"), file("zeros", bytes(8192))],
)
CONTENT = {
    b"d/noise": NOISE, b"d/text": b"text" * 3000, b"empty": b"", b"d/new": b"new" + NOISE[:5000],
    b"again": b"new" + NOISE[:5000], b"zeros": bytes(8192),
}  # fmt: skip
FORMS = {
    "zstd": ConvertOptions(chunk_size=4096),
    "lz4": ConvertOptions(chunk_size=4096, compressor="lz4_block"),
    "none": ConvertOptions(chunk_size=4096, compressor="none"),
    "kernel": ConvertOptions(chunk_size=4096, compressor="none", kernel_mountable=True),
    "sha256": ConvertOptions(chunk_size=4096, digester="sha256"),
    "large": ConvertOptions(),
    "reference": ConvertOptions(chunk_size=4096, oci_ref=True, digester="sha256"),
}


def source() -> Image:
    return build_image([encode_tar(layer) for layer in LAYERS])


def contents(image: NydusImage) -> dict[bytes, bytes]:
    tree = image.bootstrap.tree
    return {
        path: b"".join(image.content(inode))
        for path, inode in paths(tree).items()
        if stat.S_ISREG(tree.mode[inode])
    }


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_the_content_of_all_files_comes_back(options: ConvertOptions, tmp_path: Path) -> None:
    files, manifest = nydus_files(source(), tmp_path, options)
    with NydusImage(files, manifest) as image:
        assert contents(image) == CONTENT
        assert image.config == files.read_blob(manifest.config)


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_no_flipped_byte_of_a_chunk_is_handed_out(options: ConvertOptions, tmp_path: Path) -> None:
    files, manifest = nydus_files(source(), tmp_path, options)
    with NydusImage(files, manifest) as image:
        chunk = next(image.chunks(paths(image.bootstrap.tree)[b"d/noise"]))
        digest = image.blob_descriptor(chunk.blob).digest
        content = bytearray(files.blobs[digest])
        content[chunk.offset + chunk.stored_size // 2] ^= 1
        files.blobs[digest] = bytes(content)
        with pytest.raises(BlobError, match=digest.hex):
            contents(image)


def test_a_blob_that_ends_early_is_an_error(tmp_path: Path) -> None:
    files, manifest = nydus_files(source(), tmp_path)
    with NydusImage(files, manifest) as image:

        class Short(MemoryFiles):
            def open_seekable(self, descriptor):  # type: ignore[no-untyped-def]
                return io.BytesIO(b"short")

        image.files = Short()
        with pytest.raises(BlobError, match="ends"):
            contents(image)


def test_a_plain_image_is_refused() -> None:
    image = source()
    with pytest.raises(UnsupportedImageError, match="not a Nydus image"):
        NydusImage(MemoryFiles(dict(image.blobs)), image.manifest)


def tar_gz(*members: tuple[str, bytes, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = (
                kind,
                len(content),
                "x" if kind == tarfile.SYMTYPE else "",
            )
            tar.addfile(member, io.BytesIO(content))
    return io.BytesIO(gzip.compress(out.getvalue()))


REG, DIR, SYM = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE


@pytest.mark.parametrize("name", ["image/image.boot", "image.boot", "./image/image.boot"])
def test_a_bootstrap_may_lie_where_old_images_have_it(name: str) -> None:
    stream = tar_gz(("image", DIR, b""), (name, REG, b"boot"), ("image/b.blob.meta", REG, b"meta"))
    tar = gzip.decompress(stream.getvalue())
    layer = read_bootstrap_layer(stream)
    assert (layer.bootstrap, layer.others) == (b"boot", {b"image/b.blob.meta": b"meta"})
    assert layer.diff_id == Digest.of(tar)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (tar_gz(("image", DIR, b"")), "has no file"),
        (tar_gz(("image/image.boot", SYM, b"")), "not a regular file"),
        (tar_gz(("image/image.boot", REG, b"a"), ("image/image.boot", REG, b"b")), "twice"),
        (tar_gz(("image/image.boot", REG, b"a"), ("other", DIR, b"")), "'other'"),
        (tar_gz(("../image.boot", REG, b"a")), "lead out"),
        (tar_gz(("a" * 99 + "/" + "b" * 99, REG, b"a"), *[(f"{n}", REG, b"") for n in range(4096)]), "4096"),
        (io.BytesIO(b"garbage"), "bootstrap layer"),
        (io.BytesIO(b""), "has no file"),
        (io.BytesIO(tar_gz(("image/image.boot", REG, bytes(1000))).getvalue()[:-9]), "truncated"),
    ],
)
def test_other_bootstrap_layers_are_refused(stream: io.BytesIO, message: str) -> None:
    with pytest.raises(BootstrapError, match=message):
        read_bootstrap_layer(stream)


def test_a_bootstrap_that_needs_another_blob_is_refused(tmp_path: Path) -> None:
    files, manifest = nydus_files(source(), tmp_path)
    object.__setattr__(manifest, "layers", manifest.layers[1:])
    with NydusImage(files, manifest) as image, pytest.raises(ConvertError, match="no layer"):
        contents(image)
