"""Images that share blobs, as nydusd, nydus-image and the kernel read them; and dictionaries between us and
the reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from converter.blob import BlobReader
from converter.dictionary_reader import DictionaryImage, read_dictionary
from converter.image import ConvertedImage
from converter.oci import Descriptor, Digest, ImageManifest, encode_json, media_types, parse_manifest
from converter.options import ConvertOptions
from converter.rafs.reader import read_bootstrap
from tests.converter.sharing_images import Files, as_dictionary, convert, image_of, noise
from tests.images.tar import encode_tar, file
from tests.interop.readers import by_kernel, check
from tests.peers.mounts import directory_backend, nydusd_mount
from tests.peers.programs import run_program

CHUNK = 1 << 20
BASE: Files = {"base/a": noise(1, 40_000), "base/b": noise(2, 2 * CHUNK), "base/text": b"text\n" * 300_000}
APP: Files = {"app/one": noise(3, 50_000), "app/two": noise(4, 2 * CHUNK + 5)}
CHANGED: Files = {
    "app/one": APP["app/one"],
    "app/two": APP["app/two"][:CHUNK] + noise(6, CHUNK) + APP["app/two"][2 * CHUNK :],
    "app/new": noise(7, 777),
}
FORMS = {
    "zstd": ConvertOptions(threads=1),
    "lz4": ConvertOptions(threads=1, compressor="lz4_block"),
    "kernel": ConvertOptions(threads=1, compressor="none", kernel_mountable=True),
}


def shown_by_nydusd(bootstrap: Path, blobs: Path, work: Path) -> Files:
    """Every file as nydusd shows it, each chunk checked by it."""
    with nydusd_mount(bootstrap, directory_backend(blobs), work, validate=True) as root:
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def together(directory: Path, *images: ConvertedImage) -> Path:
    """A directory with the blobs of several images, as a repository has them."""
    directory.mkdir()
    for image in images:
        for blob in image.blobs:
            if not (directory / blob.descriptor.digest.hex).exists():
                (directory / blob.descriptor.digest.hex).hardlink_to(blob.path)
    return directory


@pytest.mark.root
@pytest.mark.interop
@pytest.mark.parametrize("name", FORMS)
def test_readers_take_an_image_that_borrows(name: str, tmp_path: Path) -> None:
    options = FORMS[name]
    first, second = image_of(BASE, APP), image_of(BASE, CHANGED)
    v1 = convert(first, tmp_path / "v1", options=options)
    v2 = convert(second, tmp_path / "v2", read_dictionary([as_dictionary(v1, first)], options), options)
    assert [blob.chunk_count for blob in v2.blobs] == [2]
    boot, blobs = v2.bootstrap.boot_path, together(tmp_path / "blobs", v1, v2)
    check(boot)
    with v2.blobs[0].path.open("rb") as opened:
        (tmp_path / "layer.boot").write_bytes(BlobReader(opened).bootstrap())
    check(tmp_path / "layer.boot")
    assert shown_by_nydusd(boot, blobs, tmp_path / "nydusd") == BASE | CHANGED
    if options.kernel_mountable:
        ids = [record.blob_id.decode() for record in read_bootstrap(boot.read_bytes()).blobs]
        tree = by_kernel(boot, [blobs / blob_id for blob_id in ids], tmp_path / "mountpoint")
        sums = {path.decode(): node.sha256 for path, node in tree.items() if node.sha256}
        assert sums == {path: Digest.of(content).hex for path, content in (BASE | CHANGED).items()}


@pytest.mark.root
@pytest.mark.interop
def test_the_reference_merges_layers_that_borrow(tmp_path: Path) -> None:
    """Given the dictionary, too; it names a blob after the file of its bootstrap."""
    first = image_of(BASE, APP)
    v1 = convert(first, tmp_path / "v1")
    dictionary = read_dictionary([as_dictionary(v1, first)], FORMS["zstd"])
    v2 = convert(image_of(BASE, CHANGED), tmp_path / "v2", dictionary)
    blobs, layers = together(tmp_path / "blobs", v1, v2), []
    (tmp_path / "layers").mkdir()
    for descriptor in v2.manifest.layers[:2]:
        layers.append(tmp_path / "layers" / descriptor.digest.hex)
        with (blobs / descriptor.digest.hex).open("rb") as opened:
            layers[-1].write_bytes(BlobReader(opened).bootstrap())
    merged, lender = tmp_path / "merged.boot", f"bootstrap={v1.bootstrap.boot_path}"
    run_program("nydus-image", "merge", "--chunk-dict", lender, "--bootstrap", merged, *layers)
    assert shown_by_nydusd(merged, blobs, tmp_path / "nydusd") == BASE | CHANGED


@pytest.mark.root
@pytest.mark.interop
def test_readers_take_an_image_whose_layers_share(tmp_path: Path) -> None:
    options = ConvertOptions(threads=1, share_layers=True)
    image = convert(image_of(BASE, APP | {"copy": BASE["base/b"]}), tmp_path / "w", options=options)
    assert [blob.chunk_count for blob in image.blobs] == [5, 4]
    blobs = together(tmp_path / "blobs", image)
    shown = shown_by_nydusd(image.bootstrap.boot_path, blobs, tmp_path / "nydusd")
    assert shown == BASE | APP | {"copy": BASE["base/b"]}
    check(image.bootstrap.boot_path)


def create(layer: Path, blobs: Path, bootstrap: Path, *arguments: str) -> list[str]:
    """Builds a layer with nydus-image; the ids of the blobs that it uses, in its order."""
    output = bootstrap.with_suffix(".json")
    run_program(
        "nydus-image", "create", "--type", "tar-rafs", "--whiteout-spec", "none", "--compressor", "zstd",
        "--blob-dir", blobs, "--bootstrap", bootstrap, "--output-json", output, *arguments, layer,
    )  # fmt: skip
    found: Sequence[str] = json.loads(output.read_bytes())["blobs"]
    return list(found)


@pytest.mark.root
@pytest.mark.interop
def test_the_reference_borrows_from_our_image(tmp_path: Path) -> None:
    v1 = convert(image_of(BASE, APP), tmp_path / "v1")
    blobs = together(tmp_path / "blobs", v1)
    layer, bootstrap = tmp_path / "layer.tar", tmp_path / "theirs.boot"
    layer.write_bytes(encode_tar([file(name, content) for name, content in CHANGED.items()]))
    dictionary = f"bootstrap={v1.bootstrap.boot_path}"
    used = create(layer, blobs, bootstrap, "--chunk-dict", dictionary)
    assert v1.blobs[1].descriptor.digest.hex in used
    (own,) = set(used) - {blob.descriptor.digest.hex for blob in v1.blobs}
    assert (blobs / own).stat().st_size < 2 * CHUNK  # of 3 MiB, one is new
    assert shown_by_nydusd(bootstrap, blobs, tmp_path / "nydusd") == CHANGED


@pytest.mark.root
@pytest.mark.interop
def test_we_borrow_from_an_image_of_the_reference(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    layer, bootstrap = tmp_path / "layer.tar", tmp_path / "theirs.boot"
    layer.write_bytes(encode_tar([file(name, content) for name, content in APP.items()]))
    (theirs,) = create(layer, blobs, bootstrap)
    manifest = manifest_of(blobs / theirs, bootstrap)
    dictionary = read_dictionary(
        [DictionaryImage(manifest, read_bootstrap(bootstrap.read_bytes()))], FORMS["zstd"]
    )
    ours = convert(image_of(CHANGED), tmp_path / "ours", dictionary)
    assert [blob.descriptor.digest.hex for blob in ours.borrowed] == [theirs]
    assert [blob.chunk_count for blob in ours.blobs] == [2]
    (blobs / ours.blobs[0].descriptor.digest.hex).hardlink_to(ours.blobs[0].path)
    check(ours.bootstrap.boot_path)
    assert shown_by_nydusd(ours.bootstrap.boot_path, blobs, tmp_path / "nydusd") == CHANGED


def manifest_of(blob: Path, bootstrap: Path) -> ImageManifest:
    """A manifest of one data blob and a bootstrap layer, which nobody will read."""
    layers = [
        Descriptor(media_types.NYDUS_BLOB, Digest(blob.name), blob.stat().st_size),
        Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(bootstrap.read_bytes()), bootstrap.stat().st_size),
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": Descriptor(media_types.OCI_CONFIG, Digest.of(b"{}"), 2).to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    manifest = parse_manifest(encode_json(document))
    assert isinstance(manifest, ImageManifest)
    return manifest
