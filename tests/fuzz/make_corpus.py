"""Writes the sound inputs of the corpus: `python -m tests.fuzz.make_corpus`.

What nydus-image makes is written only where it is installed (`make peers-rust`). The files are committed
because a number of a case means something only with the very same bytes; a changed corpus changes all cases.
"""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import zstandard

from converter.blob import BlobReader
from converter.bootstrap_reader import read_bootstrap_layer
from converter.image_blob import write_chunk_list
from converter.layer import convert_layer
from converter.progress import NO_PROGRESS
from tests.converter.zran.layers import REFERENCE, reference
from tests.fuzz import images
from tests.fuzz.cases import CORPUS
from tests.fuzz.packing import pack
from tests.images.odd import CASES, REFUSED, Case
from tests.images.tar import directory, encode_tar, file, hardlink, symlink
from tests.peers.programs import is_installed, run_program

MAX_SIZE = 24 << 10  # of a layer of the odd image; more of the same finds nothing
_LONG = b"long/" * 30 + b"name"
_ODD = (
    "hardlink", "xattr", "sparse", "whiteout", "opaque", "mtime", "pax", "name", "symlink", "owner", "device",
)  # fmt: skip


def _tars() -> Iterator[tuple[str, bytes]]:
    """Plain layers, a form of tar each; and the odd ones, thirty at a time in one archive."""
    for form in ("ustar", "pax", "gnu"):
        entries = [
            directory("d", form=form),
            file("d/a", images.NOISE[:3000], form=form),
            file(_LONG, b"x", form=form),
            hardlink("h", "d/a", form=form),
            symlink("s", b"t" * 90, form=form),
        ]
        if form == "gnu":
            entries.append(symlink("s2", b"t" * 300, form=form, mtime=-5))
            entries.append(file("g", form=form, uid=1 << 30))
        yield f"{form}.tar", encode_tar(entries)
    yield "v7.tar", _v7(encode_tar([file("a", b"content", form="ustar"), file("d/", form="ustar")]))
    chosen = [case for case in CASES if case.name.startswith(_ODD) and _is_fit(case)]
    for number, case in enumerate(chosen):
        if number % 4 == 0:
            yield f"odd-{case.name}.tar", encode_tar(entry for layer in case.layers for entry in layer)


def _is_fit(case: Case) -> bool:
    """Whether a case is sound and small."""
    return (
        case.name not in REFUSED
        and len(encode_tar(entry for layer in case.layers for entry in layer)) < MAX_SIZE
    )


def _v7(tar: bytes) -> bytes:
    """The archive with headers as before POSIX: no magic, directories by their names."""
    from tests.fuzz.tars import join, seal, split

    units = split(tar)
    for unit in units:
        unit.header[257:265] = bytes(8)
        unit.header[156] = 0
        seal(unit.header)
    return join(units)


def _layers() -> Iterator[tuple[str, bytes]]:
    yield from _tars()
    tar = encode_tar(images.LAYERS[0])
    half = len(tar) // 2
    yield "all.tar", tar
    yield "all.tar.gz", gzip.compress(tar, 6, mtime=0)
    yield "members.tar.gz", gzip.compress(tar[:half], 6, mtime=0) + gzip.compress(tar[half:], 6, mtime=0)
    pack_zstd = zstandard.ZstdCompressor(level=3).compress
    yield "all.tar.zst", pack_zstd(tar)
    # What grows a thousandfold must not do so in memory.
    bomb = encode_tar([file("zeros", bytes(12 << 20))])
    yield "bomb.tar.gz", gzip.compress(bomb, 6, mtime=0)
    yield "bomb.tar.zst", pack_zstd(bomb)
    skippable = b"\x50\x2a\x4d\x18\x08\0\0\0skipped!"
    yield "frames.tar.zst", skippable + pack_zstd(tar[:half]) + skippable + pack_zstd(tar[half:]) + skippable


def _conversions() -> Iterator[tuple[str, str, bytes]]:
    for form, options in images.FORMS.items():
        files, manifest = images.converted(form)
        stored = files.blobs[manifest.layers[-1].digest]
        bootstrap = read_bootstrap_layer(io.BytesIO(stored)).bootstrap
        yield "bootstrap", f"ours-{form}", bootstrap
        yield "nydus-image", form, bootstrap
        for number, layer in enumerate(manifest.layers[:-1]):
            yield "blob", f"{form}-{number}", files.blobs[layer.digest]
        yield "manifest", f"nydus-{form}", manifest.raw
        if options.oci_ref:
            continue
        with tempfile.TemporaryDirectory() as work:
            tar = encode_tar(images.LAYERS[0])
            blob = convert_layer(io.BytesIO(tar), Path(work), options, NO_PROGRESS).blob
            yield "chunk-list", form, write_chunk_list(blob).chunk_list_path.read_bytes()
        if form == "zstd":
            yield "bootstrap-layer", "ours.tar", gzip.decompress(stored)


def _index_blobs() -> Iterator[tuple[str, str, bytes]]:
    """Blobs without content, whose chunks lie in a layer of the source."""
    tar, stored = encode_tar(images.LAYERS[0]), images.gzip_layer()
    first = len(encode_tar(images.LAYERS[0][:3], b""))  # between files: no client reads across members
    many = gzip.compress(tar[:first], 6, mtime=0) + gzip.compress(tar[first:], 6, mtime=0)
    for name, layer in (("ref-gzip", stored), ("ref-members", many), ("ref-plain", tar)):
        with tempfile.TemporaryDirectory() as work:
            blob = reference(layer, Path(work), replace(REFERENCE, chunk_size=4096)).blob
            yield "blob", name, blob.path.read_bytes()
            with blob.path.open("rb") as file:
                yield "bootstrap", name, BlobReader(file).bootstrap()


def _documents() -> Iterator[tuple[str, str, bytes]]:
    source = images.source()
    yield "manifest", "oci", source.manifest.raw
    descriptor = source.manifest.descriptor.to_json()
    platform = {
        "os": "linux",
        "architecture": "arm64",
        "variant": "v8",
        "os.version": "1",
        "os.features": ["x"],
    }
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            descriptor | {"platform": platform},
            descriptor | {"artifactType": "a/b", "urls": ["http://x"]},
        ],
        "subject": descriptor,
        "annotations": {"a": "b"},
    }
    yield "manifest", "index", json.dumps(index).encode()
    docker = source.manifest.raw.replace(
        b"application/vnd.oci.image.manifest.v1+json", b"application/vnd.docker.distribution.manifest.v2+json"
    )
    docker = docker.replace(
        b"application/vnd.oci.image.config.v1+json", b"application/vnd.docker.container.image.v1+json"
    )
    yield (
        "manifest",
        "docker",
        docker.replace(
            b"application/vnd.oci.image.layer.v1.tar+gzip",
            b"application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
    )
    yield "config", "oci", source.config
    history = {
        "history": [{"created": "2020-01-01T00:00:00Z", "empty_layer": True}],
        "created": "2020-01-01T00:00:00Z",
    }
    yield "config", "history", json.dumps(json.loads(source.config) | history).encode()
    signed = json.loads((Path(__file__).parents[1] / "signer/golden/signed.json").read_bytes())
    for name, predicate in _predicates(signed):
        yield "predicate", name, json.dumps(predicate).encode()
    for text in ("localhost:5000/a/b:tag@sha256:" + "0" * 64, "docker.io/library/x", "/usr/bin\n# c\n/etc\n"):
        yield "text", f"{len(text)}", text.encode()


def _predicates(value: object, found: int = 0) -> Iterator[tuple[str, object]]:
    """Every object in the golden signatures that says its schema."""
    holders = [value]
    for holder in holders:
        if isinstance(holder, dict):
            if "schema" in holder and len(json.dumps(holder)) < 20_000:
                found += 1
                yield f"{found}", holder
            holders.extend(holder.values())
        elif isinstance(holder, list):
            holders.extend(holder)


def _of_nydus_image(work: Path) -> Iterator[tuple[str, str, bytes]]:
    """Bootstraps and blobs of the reference builder."""
    tar = work / "layer.tar"
    tar.write_bytes(encode_tar(images.LAYERS[0]))
    packed = work / "layer.tar.gz"
    packed.write_bytes(images.gzip_layer())
    for name, arguments in {
        "v5": ["--type", "tar-rafs", "--fs-version", "5"],
        "v5-lz4-sha256": [
            "--type",
            "tar-rafs",
            "--fs-version",
            "5",
            "--compressor",
            "lz4_block",
            "--digester",
            "sha256",
        ],
        "v6": ["--type", "tar-rafs", "--fs-version", "6", "--chunk-size", "0x1000"],
        "v6-inline": [
            "--type",
            "tar-rafs",
            "--fs-version",
            "6",
            "--blob-inline-meta",
            "--features",
            "blob-toc",
        ],
        "ref": ["--type", "targz-ref", "--fs-version", "6", "--blob-inline-meta", "--features", "blob-toc"],
    }.items():
        bootstrap, blobs = work / f"{name}.boot", work / f"{name}-blobs"
        blobs.mkdir()
        source = packed if "targz-ref" in arguments else tar
        inline = "--blob-inline-meta" in arguments
        output: list[str | Path] = [] if inline else ["--bootstrap", bootstrap]
        where: list[str | Path] = ["--blob", blobs / "blob"] if inline else ["--blob-dir", blobs]
        run_program("nydus-image", "create", *arguments, *output, *where, source)
        if not inline:
            yield "bootstrap", f"nydus-image-{name}", bootstrap.read_bytes()
        if not name.startswith("v5"):
            for blob in blobs.iterdir():
                yield "blob", f"nydus-image-{name}", blob.read_bytes()


def inputs(work: Path) -> Iterator[tuple[str, str, bytes]]:
    """Every sound input: target, name and bytes."""
    for name, data in _layers():
        yield "layer", name, data
    yield "layers", "two", pack(encode_tar(layer) for layer in images.LAYERS)
    for case in CASES:
        if (
            len(case.layers) > 1
            and _is_fit(case)
            and case.name.startswith(("whiteout", "opaque", "hardlink"))
        ):
            yield "layers", case.name, pack(encode_tar(layer) for layer in case.layers)
    yield from _conversions()
    yield from _index_blobs()
    yield from _documents()
    if is_installed("nydus-image"):
        yield from _of_nydus_image(work)


def main() -> None:
    """Writes what is not there yet or is different."""
    with tempfile.TemporaryDirectory() as work:
        for target, name, data in inputs(Path(work)):
            path = CORPUS / target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


if __name__ == "__main__":
    main()
