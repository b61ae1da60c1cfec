"""What is fuzzed: each target takes bytes, and refuses them with an error of ours or proves its result.

"Proves" means: what came out is read back by the other half of the converter and says the same, or at least
can be gone through to the last byte.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from converter.blob import BlobReader, LayerBlob
from converter.blob.chunk_info_v2 import GzipWindows
from converter.blob.layout import SECTION_BOOTSTRAP
from converter.bootstrap_reader import read_bootstrap_layer
from converter.check import check_image
from converter.chunk_manifest import BlobStatement, ChunkListReader, ChunkManifest
from converter.chunk_manifest.errors import ChunkManifestError
from converter.classify import classify
from converter.dictionary_reader import open_dictionary_image, read_dictionary
from converter.errors import BlobError, BootstrapError, ConvertError, UnsupportedImageError
from converter.image import convert_image
from converter.inspection.blob_dump import dump_blob
from converter.inspection.dump import dump_bootstrap
from converter.inspection.figures import describe_bootstrap
from converter.layer import convert_layer
from converter.nydus_image import NydusImage
from converter.oci import (
    Descriptor,
    Digest,
    ImageIndex,
    ImageManifest,
    Reference,
    media_types,
    parse_manifest,
)
from converter.oci.errors import OciError, WrongContentError
from converter.options import ConvertOptions
from converter.prefetch import read_trace
from converter.progress import NO_PROGRESS
from converter.rafs.contents import Bootstrap
from converter.rafs.layout import Compressor
from converter.rafs.nodes import column
from converter.rafs.reader import read_bootstrap
from converter.tree import FileTree
from converter.tree_compare import DIGEST, Digests, TreeContent, compare_trees
from converter.zran.errors import NotReferenceableError
from converter.zran.inflate import inflate_context, stored_range
from converter.zran.layer import reference_layer
from tests.converter.memory_files import in_memory
from tests.converter.zran.layers import contents
from tests.fuzz import images
from tests.fuzz.packing import unpack
from tests.images.layout import build_image

MAX_READ: Final = 32 << 20  # content of one image: files may share a chunk a million times
_OPTIONS: Final = (
    ConvertOptions(threads=1),
    ConvertOptions(threads=2, chunk_size=4096, compressor="lz4_block"),
    ConvertOptions(threads=1, chunk_size=1 << 16, compressor="none", kernel_mountable=True),
    ConvertOptions(threads=1, chunk_size=4096, digester="sha256", prefetch=("/a", "/d", "/")),
)


class WrongResultError(AssertionError):
    """Bytes were accepted, but what came of them contradicts itself."""


@dataclass(frozen=True)
class Target:
    """One thing to fuzz.

    Args:
        run: given an input and an empty directory, which the caller clears; returns if it is accepted.
        refusals: the errors by which it may refuse.
    """

    run: Callable[[bytes, Path], None]
    refusals: tuple[type[Exception], ...]


def options_of(data: bytes) -> ConvertOptions:
    """How to convert an input, decided by nothing but the input."""
    return _OPTIONS[zlib.crc32(data) % len(_OPTIONS)]


def run_layer(data: bytes, work: Path) -> None:
    """A layer: converted, and its blob read back."""
    try:
        converted = convert_layer(io.BytesIO(data), work, options_of(data), NO_PROGRESS)
    except ConvertError as error:
        if left := os.listdir(work):
            raise WrongResultError(f"a refused layer leaves {left} behind") from error
        raise
    blob = converted.blob
    with blob.path.open("rb") as file:
        reader = BlobReader(file, compressor=blob.compressor, digester=blob.digester)
        table = reader.chunk_table()
        for index in range(len(table)):
            reader.chunk(table, index)
        bootstrap = read_bootstrap(reader.bootstrap())
    tree = converted.tree.with_whiteout_files()
    expected = TreeContent(tree, _own_digests(tree, blob))
    _same(expected, TreeContent(bootstrap.tree, _digests_of(bootstrap)))


def run_reference(data: bytes, work: Path) -> None:
    """A layer that stays as it is: its index reads what a conversion of the layer has."""
    options = ConvertOptions(
        threads=1, oci_ref=True, digester="sha256", chunk_size=4096 if zlib.crc32(data) % 2 else 1 << 20
    )
    descriptor = Descriptor(media_types.OCI_LAYER_GZIP, Digest.of(data), len(data))
    try:
        indexed = reference_layer(io.BytesIO(data), descriptor, work, options, NO_PROGRESS)
    except NotReferenceableError as reason:
        raise UnsupportedImageError(str(reason)) from reason
    contents(indexed, data)  # reads every chunk from the layer, and compares it with its digest
    plain = replace(options, oci_ref=False)
    try:
        converted = convert_layer(io.BytesIO(data), work, plain, NO_PROGRESS)
    except ConvertError as error:
        raise WrongResultError("a layer that cannot be converted was indexed") from error
    _same(
        TreeContent(converted.tree, _own_digests(converted.tree, converted.blob)),
        TreeContent(indexed.tree, _own_digests(indexed.tree, indexed.blob)),
    )


def run_layers(data: bytes, work: Path) -> None:
    """Several layers: converted to an image, whose files are all read."""
    image = build_image(unpack(data), "plain")
    converted = convert_image(image.manifest, image.config, image.open_layer, work, options_of(data))
    files = in_memory(converted)
    with NydusImage(files, converted.manifest) as nydus:
        _read_all(nydus)


def run_bootstrap(data: bytes, work: Path) -> None:
    """A bootstrap: what is accepted must be a tree that can be gone through, and be described."""
    if zlib.crc32(data) % 8 == 0:  # takes its time
        with contextlib.suppress(BootstrapError):
            deque(dump_bootstrap(data), 0)
    bootstrap = read_bootstrap(data)
    _check_bootstrap(bootstrap)
    describe_bootstrap(bootstrap)


def run_blob(data: bytes, work: Path) -> None:
    """A blob: every chunk and the bootstrap inside."""
    reader = BlobReader(io.BytesIO(data), compressor=list(Compressor)[zlib.crc32(data) % 3])
    if zlib.crc32(data) % 8 == 0:
        with contextlib.suppress(BlobError, BootstrapError):
            deque(dump_blob(reader), 0)
    table, windows = reader.chunk_info()
    for index in range(len(table)):
        try:
            reader.chunk(table, index)
        except BlobError:
            break
    if windows is not None:
        _inflate_contexts(windows)
    if any(section.name == SECTION_BOOTSTRAP for section in reader.sections):
        run_bootstrap(reader.bootstrap(), work)


def _inflate_contexts(windows: GzipWindows) -> None:
    """Reads what the windows of an index mean, as far as the layer of the corpus has it."""
    for context in range(len(windows.contexts)):
        start, size = stored_range(windows, context)
        with contextlib.suppress(BlobError):
            inflate_context(windows, context, images.gzip_layer()[start : start + size])


def run_check(data: bytes, work: Path) -> None:
    """A bootstrap in a sealed image, compared with the source: every change has to be found."""
    form = _form_of(data)
    files, manifest = images.with_bootstrap(form, data)
    source = images.source()
    report = check_image(
        source.manifest,
        source.config,
        source.open_layer,
        manifest,
        files,
        prefetch=images.FORMS[form].prefetch,
    )
    if bool(report.count) == (data == images.bootstrap(form)):
        raise WrongResultError(f"a spoilt image is sound, or a sound one is not: {report.lines[:20]}")
    if report.count:
        raise BootstrapError(report.lines[0])


def run_dictionary(data: bytes, work: Path) -> None:
    """A bootstrap as a chunk dictionary: whatever it says, the image converted with it can be read."""
    form = _form_of(data)
    files, manifest = images.with_bootstrap(form, data)
    image = open_dictionary_image(manifest, files.open_blob)
    dictionary = read_dictionary([image], images.FORMS[form])
    source = images.source()
    converted = convert_image(
        source.manifest, source.config, source.open_layer, work, images.FORMS[form], dictionary=dictionary
    )
    layers = io.BytesIO(converted.bootstrap.path.read_bytes())
    run_bootstrap(read_bootstrap_layer(layers).bootstrap, work)


def _form_of(data: bytes) -> str:
    """The form of the image that a bootstrap goes with: the one whose blobs it names."""
    forms = [form for form in images.FORMS if images.first_blob(form) in data] or list(images.FORMS)
    return forms[zlib.crc32(data) % len(forms)]


def run_nydus_image(data: bytes, work: Path) -> None:
    """A bootstrap in a sealed image: the content of all files."""
    files, manifest = images.with_bootstrap(_form_of(data), data)
    with NydusImage(files, manifest) as image:
        _read_all(image)


def run_bootstrap_layer(data: bytes, work: Path) -> None:
    """The layer that a bootstrap comes in."""
    run_bootstrap(read_bootstrap_layer(io.BytesIO(data)).bootstrap, work)


def run_manifest(data: bytes, work: Path) -> None:
    """A manifest or index: read, told what it is, and converted if it names what there is."""
    manifest = parse_manifest(data)
    classify(manifest)
    for descriptor in manifest.manifests if isinstance(manifest, ImageIndex) else manifest.layers:
        json.dumps(descriptor.to_json())
    image = images.source()
    if isinstance(manifest, ImageManifest) and all(
        layer.digest in image.blobs for layer in (manifest.config, *manifest.layers)
    ):
        config = image.blobs[manifest.config.digest]
        convert_image(
            manifest, config, image.open_layer, work, ConvertOptions(threads=1), subject=manifest.subject
        )


def run_config(data: bytes, work: Path) -> None:
    """An image config: the image is converted, and its config has to be one again."""
    image = images.with_config(data)
    converted = convert_image(image.manifest, image.config, image.open_layer, work, ConvertOptions(threads=1))
    json.loads(converted.config)


def run_chunk_list(data: bytes, work: Path) -> None:
    """A chunk list."""
    summary = ChunkListReader(io.BytesIO(data)).read_all()
    if summary.descriptor.size != len(data):
        raise WrongResultError(f"a list of {len(data)} bytes was read as one of {summary.descriptor.size}")


def run_predicate(data: bytes, work: Path) -> None:
    """Predicates of signed statements."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ChunkManifestError("not JSON") from error
    for kind in (ChunkManifest, BlobStatement):
        try:
            read = kind.from_predicate(value)
        except ChunkManifestError:
            continue
        if kind.from_predicate(read.to_predicate()) != read:
            raise WrongResultError("a predicate that is written again is another one")


def run_text(data: bytes, work: Path) -> None:
    """References and access traces."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        reference = Reference.parse(text)
    except OciError:
        read_trace(data.splitlines())
    else:
        if Reference.parse(str(reference)) != reference:
            raise WrongResultError("a reference that is written again is another one")


def _check_bootstrap(bootstrap: Bootstrap) -> None:
    tree = bootstrap.tree
    names = 0
    for _, name, inode in tree.walk():
        names += 1
        if not name or b"/" in name or b"\0" in name or name in (b".", b".."):
            raise WrongResultError(f"the name {name!r}")
        if stat.S_ISLNK(tree.mode[inode]) and not tree.symlink_target.get(inode):
            raise WrongResultError("a symlink without a target")
    if names != bootstrap.name_count:
        raise WrongResultError(f"{names} names, announced {bootstrap.name_count}")
    content = TreeContent(tree, _digests_of(bootstrap))
    _same(content, content)


def _digests_of(bootstrap: Bootstrap) -> Digests:
    """The digest of each chunk of each file, by the chunk table."""
    rows, tree = bootstrap.chunks, bootstrap.tree
    keys = rows["blob_index"].astype(np.int64) << 32 | rows["index"]
    order = np.argsort(keys)
    wanted = column(tree.chunk_blob).astype(np.int64) << 32 | column(tree.chunk_refs)
    found = order[np.searchsorted(keys[order], wanted)]
    if (keys[found] != wanted).any():
        raise WrongResultError("a file uses a chunk that is not in the chunk table")
    digests: Digests = rows["digest"][found].view(DIGEST).reshape(-1)
    return digests


def _own_digests(tree: FileTree, blob: LayerBlob) -> Digests:
    """The digest of each chunk of each file of a layer, by the table of its blob."""
    digests: Digests = np.frombuffer(bytes(blob.chunks.digests), DIGEST)[column(tree.chunk_refs)]
    return digests


def _same(expected: TreeContent, actual: TreeContent) -> None:
    differences = list(compare_trees(expected, actual))
    if differences:
        raise WrongResultError("\n".join(differences[:20]))


def _read_all(image: NydusImage) -> None:
    _check_bootstrap(image.bootstrap)
    tree = image.bootstrap.tree
    left = MAX_READ
    for inode in range(len(tree)):
        if not stat.S_ISREG(tree.mode[inode]) or tree.size[inode] > left:
            continue
        size = sum(map(len, image.content(inode)))
        if size != tree.size[inode]:
            raise WrongResultError(f"a file of {tree.size[inode]} bytes has {size} bytes of content")
        left -= size


TARGETS: Final[dict[str, Target]] = {
    "layer": Target(run_layer, (ConvertError,)),
    "layers": Target(run_layers, (ConvertError,)),
    "reference": Target(run_reference, (ConvertError,)),
    "bootstrap": Target(run_bootstrap, (BootstrapError,)),
    "blob": Target(run_blob, (BlobError, BootstrapError)),
    "nydus-image": Target(run_nydus_image, (BlobError, BootstrapError, WrongContentError)),
    "check": Target(run_check, (ConvertError, WrongContentError)),
    "dictionary": Target(run_dictionary, (ConvertError, WrongContentError)),
    "bootstrap-layer": Target(run_bootstrap_layer, (BootstrapError,)),
    "manifest": Target(run_manifest, (OciError, ConvertError)),
    "config": Target(run_config, (ConvertError,)),
    "chunk-list": Target(run_chunk_list, (ChunkManifestError,)),
    "predicate": Target(run_predicate, (ChunkManifestError,)),
    "text": Target(run_text, (OciError, ConvertError)),
}
