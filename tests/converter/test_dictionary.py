"""Sharing chunks: between the layers of an image, and with the images of a dictionary."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from converter import blob_pool
from converter.blob_pool import BlobPool
from converter.dictionary_reader import DictionaryImage, read_dictionary
from converter.errors import DictionaryError
from converter.image import ConvertedImage
from converter.oci import media_types
from converter.options import ConvertOptions
from converter.rafs.reader import read_bootstrap
from tests.converter.rafs.samples import Chunks, blob_info
from tests.converter.sharing_images import (
    CHUNK_SIZE,
    OPTIONS,
    Files,
    as_dictionary,
    convert,
    dictionary_of,
    files_of,
    image_of,
    noise,
)
from tests.images.layout import Image

BASE: Files = {"base/a": noise(1, 40_000), "base/b": noise(2, 3 * CHUNK_SIZE)}
APP: Files = {"app/one": noise(3, 50_000), "app/two": noise(4, 2 * CHUNK_SIZE + 5), "app/old": noise(5, 999)}
# The second chunk of one file is new, and a file that is all new.
CHANGED: Files = {
    "app/one": APP["app/one"],
    "app/two": APP["app/two"][:CHUNK_SIZE] + noise(6, CHUNK_SIZE) + APP["app/two"][2 * CHUNK_SIZE :],
    "app/new": noise(7, 777),
}


def blob_ids(converted: ConvertedImage) -> list[str]:
    """Ids in the bootstrap's blob table."""
    blobs = read_bootstrap(converted.bootstrap.boot_path.read_bytes()).blobs
    return [record.blob_id.decode() for record in blobs]


def first_version(tmp_path: Path) -> tuple[ConvertedImage, Image]:
    image = image_of(BASE, APP)
    return convert(image, tmp_path / "v1"), image


def test_layers_are_complete_by_themselves_by_default(tmp_path: Path) -> None:
    converted = convert(image_of(BASE, BASE | APP), tmp_path / "w")
    assert [blob.chunk_count for blob in converted.blobs] == [4, 4 + 5]


def test_layers_may_share(tmp_path: Path) -> None:
    options = ConvertOptions(threads=1, share_layers=True)
    wanted = BASE | APP | {"copy": BASE["base/b"]}
    image = image_of(BASE, APP | {"copy": BASE["base/b"]}, {"base/b": BASE["base/b"]})
    converted = convert(image, tmp_path / "w", options=options)
    assert [blob.chunk_count for blob in converted.blobs] == [4, 5, 0]
    assert converted.borrowed == ()
    assert files_of(converted, [tmp_path / "w"]) == wanted
    assert [layer.digest for layer in converted.manifest.layers[:-1]] == [
        blob.descriptor.digest for blob in converted.blobs
    ]
    assert options.fingerprint() != OPTIONS.fingerprint()


def test_a_new_version_stores_what_is_new(tmp_path: Path) -> None:
    v1, source = first_version(tmp_path)
    image = image_of(BASE, CHANGED)
    v2 = convert(image, tmp_path / "v2", dictionary_of((v1, source)))
    assert files_of(v2, [tmp_path / "v1", tmp_path / "v2"]) == BASE | CHANGED
    # The base layer has the blob that it had; the other layer has a chunk of its own for each new one.
    (made,) = v2.blobs
    assert made.chunk_count == 2
    old_base, old_app = (blob.descriptor for blob in v1.blobs)
    assert [layer.digest for layer in v2.manifest.layers] == [
        old_base.digest, made.descriptor.digest, old_app.digest, v2.bootstrap.descriptor.digest,
    ]  # fmt: skip
    assert [(b.descriptor.digest, b.image) for b in v2.borrowed] == [
        (old_base.digest, v1.manifest.digest),
        (old_app.digest, v1.manifest.digest),
    ]
    config = json.loads(v2.config)
    diff_ids = [*(str(layer.digest) for layer in v2.manifest.layers[:-1]), str(v2.bootstrap.diff_id)]
    assert config["rootfs"]["diff_ids"] == diff_ids
    assert {path.name for path in (tmp_path / "v2").iterdir() if len(path.name) == 64} == {
        made.descriptor.digest.hex
    }


def test_who_lent_what_is_written_down(tmp_path: Path) -> None:
    v1, source = first_version(tmp_path)
    v2 = convert(image_of(BASE, CHANGED), tmp_path / "v2", dictionary_of((v1, source)))
    assert v2.manifest.annotations[media_types.ANNOTATION_DICTIONARY] == str(v1.manifest.digest)
    by_lender = [layer.annotations.get(media_types.ANNOTATION_BORROWED_FROM) for layer in v2.manifest.layers]
    lender = str(v1.manifest.digest)
    assert by_lender == [lender, None, lender, None]
    assert all(
        layer.annotations[media_types.ANNOTATION_NYDUS_BLOB] == "true" for layer in v2.manifest.layers[:-1]
    )
    assert media_types.ANNOTATION_DICTIONARY not in v1.manifest.annotations


def test_cache_files_of_borrowed_blobs_come_along(tmp_path: Path) -> None:
    v1, source = first_version(tmp_path)
    v2 = convert(image_of(BASE, CHANGED), tmp_path / "v2", dictionary_of((v1, source)))
    old, new = as_dictionary(v1, None).cache_files, as_dictionary(v2, None).cache_files
    assert old.items() <= new.items()
    assert len(new) == 3


def test_the_same_dictionary_gives_the_same_bytes(tmp_path: Path) -> None:
    v1, source = first_version(tmp_path)
    image = image_of(BASE, CHANGED)
    results = [
        convert(image, tmp_path / str(number), dictionary_of((v1, source))).manifest.digest
        for number in range(2)
    ]
    assert len(set(results)) == 1


def test_a_blob_is_borrowed_through_several_versions(tmp_path: Path) -> None:
    v1, first = first_version(tmp_path)
    second = image_of(BASE, CHANGED)
    v2 = convert(second, tmp_path / "v2", dictionary_of((v1, first)))
    changed = CHANGED | {"app/newest": noise(8, 100_000)}
    v3 = convert(image_of(BASE, changed), tmp_path / "v3", dictionary_of((v2, second)))
    assert files_of(v3, [tmp_path / name for name in ("v1", "v2", "v3")]) == BASE | changed
    assert {blob.image for blob in v3.borrowed} == {v2.manifest.digest}
    assert v3.blobs[0].chunk_count == 1
    assert len(v3.borrowed) == 3


def test_an_image_that_did_not_change_makes_nothing(tmp_path: Path) -> None:
    v1, source = first_version(tmp_path)
    again = convert(source, tmp_path / "again", dictionary_of((v1, source)))
    assert again.blobs == ()
    assert [layer.digest for layer in again.manifest.layers] == [layer.digest for layer in v1.manifest.layers]
    assert again.bootstrap.boot_digest == v1.bootstrap.boot_digest


def test_without_the_source_a_layer_gets_a_blob_without_chunks(tmp_path: Path) -> None:
    v1, _ = first_version(tmp_path)
    dictionary = read_dictionary([as_dictionary(v1, None)], OPTIONS)
    v2 = convert(image_of(BASE, CHANGED), tmp_path / "v2", dictionary)
    assert [blob.chunk_count for blob in v2.blobs] == [0, 2]
    assert len(v2.manifest.layers) == 5
    assert files_of(v2, [tmp_path / "v1", tmp_path / "v2"]) == BASE | CHANGED


def test_blobs_of_which_all_files_are_hidden_are_listed(tmp_path: Path) -> None:
    """The bootstrap in the lower layer's blob names one that the image's own bootstrap does not."""
    v1, source = first_version(tmp_path)
    hidden = image_of({"x": APP["app/one"], "y": b"y"}, {"x": b"other"})
    v2 = convert(hidden, tmp_path / "v2", dictionary_of((v1, source)))
    lent = v1.blobs[1].descriptor.digest
    assert lent.hex not in blob_ids(v2)
    assert [layer.digest for layer in v2.manifest.layers[2:-1]] == [lent]
    assert f"image/{lent.hex}.blob.meta".encode() in as_dictionary(v2, None).cache_files


def test_a_layer_says_which_blobs_it_needs(tmp_path: Path) -> None:
    v1, source = first_version(tmp_path)
    v2 = convert(image_of(BASE, CHANGED), tmp_path / "v2", dictionary_of((v1, source)))
    noted = [layer.annotations.get(media_types.ANNOTATION_REFERS_TO) for layer in v2.manifest.layers]
    assert noted == [None, v1.blobs[1].descriptor.digest.hex, None, None]


def test_the_first_image_that_has_a_chunk_lends_it(tmp_path: Path) -> None:
    v1, first = first_version(tmp_path)
    second = image_of({"x": APP["app/one"]})
    other = convert(second, tmp_path / "other")
    wanted = image_of({"y": APP["app/one"]})
    for order, lender in (((v1, first), (other, second)), v1), (((other, second), (v1, first)), other):
        work = tmp_path / lender.manifest.digest.hex[:8]
        (borrowed,) = convert(wanted, work, dictionary_of(*order)).borrowed
        assert borrowed.image == lender.manifest.digest


@pytest.mark.parametrize(("bound", "borrowed"), [(0, 0), (1, 1), (2, 2), (16, 2)])
def test_foreign_blobs_are_bounded(tmp_path: Path, bound: int, borrowed: int) -> None:
    v1, source = first_version(tmp_path)
    image = image_of(BASE | {"more": b"1"}, CHANGED)  # no layer is the same
    v2 = convert(image, tmp_path / "v2", dictionary_of((v1, source), max_blobs=bound))
    assert len(v2.borrowed) == borrowed
    assert files_of(v2, [tmp_path / "v1", tmp_path / "v2"]) == BASE | CHANGED | {"more": b"1"}
    if bound == 1:  # the base layer offers more
        assert v2.borrowed[0].descriptor.digest == v1.blobs[0].descriptor.digest
    if bound == 0:
        plain = convert(image, tmp_path / "plain")
        assert [blob.descriptor for blob in v2.blobs] == [blob.descriptor for blob in plain.blobs]


def test_blobs_of_the_same_layers_do_not_count(tmp_path: Path) -> None:
    v1, source = first_version(tmp_path)
    v2 = convert(image_of(BASE, CHANGED), tmp_path / "v2", dictionary_of((v1, source), max_blobs=1))
    assert len(v2.borrowed) == 2
    # Where the others are too many, the bound holds for all together.
    v2 = convert(image_of(BASE, CHANGED), tmp_path / "none", dictionary_of((v1, source), max_blobs=0))
    assert v2.borrowed == ()


def test_equal_digests_of_other_sizes_are_not_shared() -> None:
    chunks, pool = Chunks(), BlobPool()
    chunks.add(b"content")
    pool.offer(pool.add(blob_info(chunks)), [0])
    digest = bytes(chunks.digests)
    assert pool.find(digest, len(b"content")) == (1, 0)
    assert pool.find(digest, 8) is None
    assert pool.find(bytes(32), 7) is None


def test_what_is_offered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_pool, "MAX_SHARED_CHUNKS", 2)
    chunks, pool = Chunks(), BlobPool()
    contents = [b"%d" % number for number in range(3)]
    for content in contents:
        chunks.add(content)
    pool.offer(pool.add(blob_info(chunks)), range(3))
    digests = bytes(chunks.digests)
    assert [pool.find(digests[32 * n : 32 * n + 32], 1) for n in range(3)] == [(1, 0), (1, 1), None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (replace(OPTIONS, chunk_size=4096), "its chunk size is 1048576, that of the conversion 4096"),
        (replace(OPTIONS, digester="sha256"), "its digester is blake3, that of the conversion sha256"),
        (replace(OPTIONS, compressor="none", kernel_mountable=True), "not laid out for the kernel"),
    ],
)
def test_a_dictionary_must_go_with_the_options(tmp_path: Path, options: ConvertOptions, message: str) -> None:
    v1, source = first_version(tmp_path)
    with pytest.raises(DictionaryError, match=f"{v1.manifest.digest} cannot be .*{message}"):
        read_dictionary([as_dictionary(v1, source)], options)


def test_a_dictionary_may_be_compressed_otherwise(tmp_path: Path) -> None:
    v1, source = first_version(tmp_path)
    options = replace(OPTIONS, compressor="lz4_block")
    dictionary = read_dictionary([as_dictionary(v1, source)], options)
    v2 = convert(image_of(BASE, CHANGED), tmp_path / "v2", dictionary, options)
    assert files_of(v2, [tmp_path / "v1", tmp_path / "v2"]) == BASE | CHANGED


def test_what_contradicts_itself_is_no_dictionary(tmp_path: Path) -> None:
    v1, source = first_version(tmp_path)
    good = as_dictionary(v1, source)
    read_dictionary([good], OPTIONS)
    (name, content), *_ = good.cache_files.items()
    damaged = bytearray(content)
    damaged[16 * 3 + 8] += 1  # the offset of the last chunk
    cases: list[tuple[DictionaryImage, str]] = [
        (replace(good, manifest=source.manifest), "which is none of its layers"),
        (replace(good, source=image_of(BASE).manifest), "was not converted from"),
        (replace(good, cache_files={name: content[4096:]}), "bytes for"),
        (replace(good, cache_files={name: content[:-4] + bytes(4)}), "the magics"),
        (replace(good, cache_files={name: bytes(damaged)}), "contradicts the chunk table"),
    ]
    for case, message in cases:
        with pytest.raises(DictionaryError, match=message):
            read_dictionary([case], OPTIONS)
    with pytest.raises(DictionaryError, match="9 images are more"):
        read_dictionary([good] * 9, OPTIONS)


def test_sharing_between_layers_needs_data_blobs_of_rafs_6() -> None:
    with pytest.raises(ValueError, match=r"share_layers|must wait"):
        ConvertOptions(share_layers=True, oci_ref=True)
