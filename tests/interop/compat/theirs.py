"""What nydus-image makes: of our layers' bootstraps, of our chunks, and of the same layers as we got."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from converter.blob import BlobReader
from converter.oci import Digest
from converter.rafs.reader import read_bootstrap
from tests.images.odd import Case
from tests.images.tar import REGULAR, encode_tar, file
from tests.interop.blobs import layer_bootstrap
from tests.interop.conversion import Conversion
from tests.peers.programs import run_program

# What `nydus-image create` 2.2 does not read, with its reason; the rest of an image would go with it.
REFUSED: Final = {
    "global-header*": "PAX global headers are unsupported",
    "sparse-gnu*": "GNU sparse files are unsupported, or read wrongly",
    "type-contiguous": "the type is unsupported",
    "hardlink-with-size-only": "it takes the size in a hardlink's header for content",
    "hardlink-across-directories": "a hardlink to a name that is a hardlink finds no target",
    "hardlink-to-symlink*": "its merge ends by SIGABRT at a layer of its own with a hardlink to a symlink",
    "hardlink-target-replaced*": "its merge ends by SIGABRT where a hardlink's target is listed again",
    "twice-*": "its merge ends by SIGABRT where a layer lists several names twice",
    "hardlink-through-symlink": "a hardlink through a symlink finds no target",
    "hardlink-to-lower*": "a hardlink to an earlier layer finds no target",
    "hardlink-two-to-lower": "a hardlink to an earlier layer finds no target",
    "hardlink-in-two-layers": "a hardlink to an earlier layer finds no target",
    "symlink-*-below": "it ends by SIGABRT at an entry below a symlink of its layer",
    "whiteout-and-child-of-whiteout-name": "it ends by SIGABRT at an entry below a whiteout",
    "xattr-user-on-fifo": "nydusd lists an attribute in its image, and does not show it",
    "symlink-with-user-xattr": "nydusd lists an attribute in its image, and does not show it",
    "xattr-acl*": "the attribute is refused",
    "xattr-over-a-block": "it takes the PAX record for malformed",
    "xattr-unknown-prefix": "the attribute is refused",
    "xattr-nfs4-acl": "the attribute is refused",
    "nydus-all-entry-type-macos": "attributes without a prefix are refused",
}


def create(tar: bytes, work: Path, *options: str) -> Path:
    """Makes a blob of a layer as the reference converter does, named by its digest.

    Raises:
        ProgramError: nydus-image refuses the layer.
    """
    layer, blob = work / "layer.tar", work / "layer.blob"
    layer.write_bytes(tar)
    run_program(
        "nydus-image", "create", "--log-level", "error", "--type", "tar-rafs", "--whiteout-spec", "none",
        "--blob-inline-meta", "--features", "blob-toc", "--blob", blob, *options, layer,
    )  # fmt: skip
    target = work / "blobs" / Digest.of(blob.read_bytes()).hex
    target.parent.mkdir(exist_ok=True)
    return blob.replace(target)


def merge(bootstraps: Sequence[tuple[str, bytes]], work: Path, *options: str | Path) -> Path:
    """Merges the bootstraps of layers, lowest first, each given with the name of its blob.

    Raises:
        ProgramError: nydus-image refuses them.
    """
    paths = []
    for number, (name, content) in enumerate(bootstraps):
        paths.append(work / f"merge{number}" / name)
        paths[-1].parent.mkdir()
        paths[-1].write_bytes(content)
    run_program(
        "nydus-image", "merge", "--log-level", "error", "--bootstrap", work / "merged", *options, *paths
    )
    return work / "merged"


def merge_ours(conversion: Conversion, work: Path, *options: str | Path) -> Path:
    """Lets nydus-image merge the bootstraps inside our blobs; the merged bootstrap."""
    work.mkdir()
    blobs = conversion.image.blobs
    layers = [
        ((blob.reference or blob.descriptor).digest.hex, layer_bootstrap(blob.path.read_bytes()))
        for blob in blobs
    ]
    if any(blob.reference for blob in blobs):
        digests = ",".join(blob.descriptor.digest.hex for blob in blobs)
        sizes = ",".join(str(blob.descriptor.size) for blob in blobs)
        options = (*options, "--blob-digests", digests, "--blob-sizes", sizes)
    return merge(layers, work, *options)


def build(tars: Sequence[bytes], work: Path, *options: str) -> tuple[Path, Path]:
    """Makes an image of layers; its bootstrap, and the directory of its blobs."""
    work.mkdir()
    layers = []
    for tar in tars:
        blob = create(tar, work, *options)
        with blob.open("rb") as opened:
            layers.append((blob.name, BlobReader(opened).bootstrap()))
    return merge(layers, work), work / "blobs"


def contents(chosen: Sequence[Case]) -> bytes:
    """A layer with the content of every file of some cases, in a directory for each case."""
    return encode_tar(
        file(f"{one.name}/{layer}-{number}", entry.content)
        for one in chosen
        for layer, entries in enumerate(one.layers)
        for number, entry in enumerate(entries)
        if entry.kind == REGULAR and entry.content and b"\0.wh." not in b"\0" + entry.name.rpartition(b"/")[2]
    )


def shared_directories(ours: Path, layer: bytes, work: Path, *options: str) -> dict[str, bool]:
    """Lets nydus-image make a layer with our image as its chunk dictionary.

    Returns:
        For each directory with chunks that our image has, whether the layer refers to ours for all of them.
    """
    work.mkdir()
    blob = create(layer, work, *options, "--chunk-dict", f"bootstrap={ours}")
    with blob.open("rb") as opened:
        made = read_bootstrap(BlobReader(opened).bootstrap())
    known = read_bootstrap(ours.read_bytes())
    digests = {row.tobytes() for row in known.chunks["digest"]}
    our_blobs = {record.blob_id for record in known.blobs}
    rows = {(int(row["blob_index"]), int(row["index"])): row["digest"].tobytes() for row in made.chunks}
    tree, shared = made.tree, dict[str, bool]()
    for name, top in tree.children(tree.ROOT).items():
        for inode in tree.children(top).values():
            first = tree.first_chunk[inode]
            for place in range(first, first + tree.chunk_count[inode]):
                index = tree.chunk_blob[place]
                if rows[index, tree.chunk_refs[place]] in digests:
                    is_ours = made.blobs[index].blob_id in our_blobs
                    shared[name.decode()] = shared.get(name.decode(), True) and is_ours
    return shared
