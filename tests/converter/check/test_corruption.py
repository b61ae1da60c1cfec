"""Single bytes changed in a converted image, which is then sealed again: each one is found."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from converter.blob import BlobReader, layout
from converter.check import CheckReport, check_image
from converter.errors import ConvertError
from converter.oci import Digest, OciError
from converter.options import ConvertOptions
from converter.rafs.reader import rafs_version
from tests.converter.check.sealing import (
    Parts,
    flip,
    replace_chunks,
    replace_index,
    seal,
    seal_contents,
    seal_inodes,
    take_apart,
)
from tests.images.layout import Image, build_image
from tests.images.tar import Entry, directory, encode_tar, file, hardlink, symlink, whiteout

FORMS = {
    "zstd": ConvertOptions(chunk_size=4096, threads=1),
    "lz4": ConvertOptions(chunk_size=4096, compressor="lz4_block", threads=1),
    "none": ConvertOptions(chunk_size=4096, compressor="none", threads=1),
    "kernel": ConvertOptions(chunk_size=4096, compressor="none", kernel_mountable=True, threads=1),
    "sha256": ConvertOptions(digester="sha256", threads=1),
    "v5": ConvertOptions(chunk_size=4096, fs_version=5, threads=1),
    "v5-none": ConvertOptions(fs_version=5, compressor="none", digester="sha256", threads=1),
    "reference": ConvertOptions(chunk_size=4096, oci_ref=True, digester="sha256", threads=1),
}
_random = random.Random(2024)
WORDS = b" ".join(_random.choices([b"wheel", b"layer", b"chunk", b"\n", b"0123456789"], k=4000))


def source() -> Image:
    """Two layers with a bit of all; the upper one hides and keeps chunks of the lower one."""
    lower = [
        directory("bin", 0o700), file("bin/words", WORDS), file("bin/noise", _random.randbytes(10_000)),
        file("empty", b""), symlink("link", "bin/words"), file("gone", b"gone" * 2000),
        *(file(f"many-{n:03}", b"%d" % n * (n + 1), mode=0o600 + n % 64, uid=n) for n in range(100)),
    ]  # fmt: skip
    upper = [
        whiteout("gone"), hardlink("again", "many-007"),
        file("bin/new", WORDS[5000:] + b"!", xattrs={b"user.a": b"1"}),
        Entry(b"dev", b"3", device=(5, 1)),
    ]  # fmt: skip
    return build_image([encode_tar(lower), encode_tar(upper)])


SOURCE = source()


def check(parts: Parts, work: Path) -> CheckReport:
    files, manifest = seal(parts, work)
    return check_image(SOURCE.manifest, SOURCE.config, SOURCE.open_layer, manifest, files)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parts]:
    """The image in each form."""
    return {
        name: take_apart(SOURCE, tmp_path_factory.mktemp(name), options) for name, options in FORMS.items()
    }


@pytest.mark.parametrize("form", FORMS)
def test_an_image_that_was_only_taken_apart_and_sealed_is_right(
    form: str, intact: dict[str, Parts], tmp_path: Path
) -> None:
    parts = deepcopy(intact[form])
    for digest, blob in parts.blobs.items():
        if parts.layers:
            replace_index(parts, digest, BlobReader(io.BytesIO(blob)).chunk_info_table(), tmp_path)
        else:
            replace_chunks(parts, digest, blob[: chunks_size(blob)], tmp_path)
    assert parts == intact[form]
    assert check(parts, tmp_path).lines == []


def chunks_size(blob: bytes) -> int:
    first = BlobReader(io.BytesIO(blob)).sections[0]
    return first.size if first.name == layout.SECTION_CHUNKS else 0


def spoil_chunk(parts: Parts, rng: random.Random, work: Path) -> str:
    """Of an image that has no chunks of its own, a byte of what says where they are."""
    digest, blob = rng.choice(list(parts.blobs.items()))
    if parts.layers:
        table = BlobReader(io.BytesIO(blob)).chunk_info_table()
        position = rng.randrange(len(table))
        replace_index(parts, digest, flip(table, position, bits(rng)), work)
        return f"index {digest} at {position}"
    position = rng.randrange(chunks_size(blob))
    replace_chunks(parts, digest, flip(blob, position, bits(rng))[: chunks_size(blob)], work)
    return f"chunks of {digest} at {position}"


def spoil_blob(parts: Parts, rng: random.Random, work: Path) -> str:
    digest, blob = rng.choice(list(parts.blobs.items()))
    position = rng.randrange(chunks_size(blob), len(blob))
    parts.blobs[digest] = seal_contents(flip(blob, position, bits(rng)), blob)
    return f"{digest} at {position} of {len(blob)}"


def spoil_bootstrap(parts: Parts, rng: random.Random, work: Path) -> str:
    position = rng.randrange(len(parts.boot))
    spoilt = flip(parts.boot, position, bits(rng))
    sealed = seal_inodes(spoilt) if rafs_version(spoilt) == 5 else spoilt
    parts.boot = spoilt if sealed == parts.boot else sealed  # a digest, which would be put right again
    return f"bootstrap at {position}"


def spoil_tar(parts: Parts, rng: random.Random, work: Path) -> str:
    where, turned = rng.random(), bits(rng)
    parts.spoil_tar = lambda tar: flip(tar, int(where * len(tar)), turned)
    return f"tar of the bootstrap layer at {where}"


def spoil_config(parts: Parts, rng: random.Random, work: Path) -> str:
    position = rng.randrange(len(parts.config))
    parts.config = flip(parts.config, position, bits(rng))
    return f"config at {position}"


def spoil_manifest(parts: Parts, rng: random.Random, work: Path) -> str:
    """Turns a letter of a value that is not a digest or size, which sealing would put right again."""
    values = [(parts.manifest["annotations"], key) for key in parts.manifest["annotations"]]
    values += [(parts.manifest["subject"], "digest"), (parts.manifest["config"], "mediaType")]
    for layer in parts.manifest["layers"]:
        values += [(layer, "mediaType"), *((layer["annotations"], key) for key in layer["annotations"])]
    table, key = rng.choice(values)
    position = rng.randrange(len(table[key]))
    table[key] = flip(table[key].encode(), position, 1 << rng.randrange(4)).decode()
    return f"{key} of the manifest at {position}"


def bits(rng: random.Random) -> int:
    return rng.choice([1 << rng.randrange(8), rng.randrange(1, 256)])


Spoil = Callable[[Parts, random.Random, Path], str]
AREAS: tuple[Spoil, ...] = (
    *[spoil_chunk] * 7, *[spoil_blob] * 5, *[spoil_bootstrap] * 4, *[spoil_tar] * 2,
    spoil_config, spoil_manifest,
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_each_of_more_than_a_hundred_bytes_is_found(
    form: str, intact: dict[str, Parts], tmp_path: Path
) -> None:
    """Twenty for each of the eight forms."""
    rng = random.Random(form)
    for area in AREAS:
        parts = deepcopy(intact[form])
        where = area(parts, rng, tmp_path)
        assert is_found(parts, tmp_path), f"{where} was not found"


def is_found(parts: Parts, work: Path) -> bool:
    try:
        report = check(parts, work)
    except (ConvertError, OciError):  # the manifest or the config cannot even be read
        return True
    return report.count > 0


def test_the_file_of_a_changed_byte_is_named(intact: dict[str, Parts], tmp_path: Path) -> None:
    parts = deepcopy(intact["none"])
    digest = next(iter(parts.blobs))
    blob = parts.blobs[digest]
    position = blob.index(WORDS[4096:8192]) + 9
    replace_chunks(parts, digest, flip(blob, position, 1)[: chunks_size(blob)], tmp_path)
    report = check(parts, tmp_path)
    assert "/bin/words: the content of chunk 1 is different" in report.lines
    assert [line for line in report.lines if "digest" in line] == []  # all digests are sealed


def test_what_is_not_sealed_is_named_by_its_digest(intact: dict[str, Parts], tmp_path: Path) -> None:
    files, manifest = seal(deepcopy(intact["zstd"]), tmp_path)
    digest = manifest.layers[0].digest
    files.blobs[digest] = flip(files.blobs[digest], 10, 1)
    wrong = Digest.of(files.blobs[digest])
    report = check_image(SOURCE.manifest, SOURCE.config, SOURCE.open_layer, manifest, files)
    assert f"blob {digest}: it has the digest {wrong}" in report.lines
