"""Spoils a converted image and seals it again: every digest, size and manifest fits what is in it then.

What is left for a check to find is the content itself.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.blob import BlobReader, layout
from converter.blob.chunk_table import ChunkTable
from converter.blob.codec import decompress
from converter.blob.layout import TocEntry, TocFlag
from converter.blob.sections import SectionWriter
from converter.blob.spool_file import SpoolFile
from converter.bootstrap_layer import write_bootstrap_layer
from converter.bootstrap_reader import read_bootstrap_layer
from converter.check.plain_blob import check_plain_blob
from converter.chunk_digest import digest_function
from converter.errors import BlobError, BootstrapError
from converter.oci import Descriptor, Digest, ImageManifest, encode_json, media_types, parse_manifest
from converter.options import PREFETCH_ALL, ConvertOptions
from converter.prefetch import find_prefetched
from converter.rafs.blobs import BlobInfo
from converter.rafs.bootstrap import encode_bootstrap
from converter.rafs.layout import (
    CHUNK_RECORD,
    DEVICE_TABLE_OFFSET,
    EXTENDED_SUPERBLOCK_OFFSET,
    BlobFeature,
    Compressor,
    Digester,
)
from converter.rafs.reader import rafs_version, read_bootstrap
from converter.rafs.records import ExtendedSuperBlock
from converter.rafs5.bootstrap import encode_bootstrap as encode_bootstrap_v5
from converter.rafs5.head_reader import read_head
from converter.rafs5.records_reader import read_records
from converter.tree import FileTree
from tests.converter.memory_files import MemoryFiles, nydus_files
from tests.images.layout import Image


@dataclass
class Parts:
    """A converted image in parts, which may be changed before `seal`.

    Args:
        manifest: the manifest as a document.
        config: bytes of the config.
        boot: the bootstrap.
        diff_id: digest of the bootstrap layer's tar, as the config has it.
        others: the other files of the bootstrap layer.
        blobs: the data blobs by the digest that the other parts know them by.
        compressor: of their chunks.
        digester: of their chunks.
        level: of zstd.
        layers: those of the source, where the image refers to them.
        spoil_tar: changes the tar of the bootstrap layer.
    """

    manifest: dict[str, Any]
    config: bytes
    boot: bytes
    diff_id: Digest
    others: dict[bytes, bytes]
    blobs: dict[Digest, bytes]
    compressor: Compressor
    digester: Digester
    level: int
    layers: dict[Digest, bytes]
    spoil_tar: Callable[[bytes], bytes] = lambda tar: tar


def take_apart(image: Image, work: Path, options: ConvertOptions) -> Parts:
    """Converts an image, and takes the result apart."""
    files, manifest = nydus_files(image, work, options)
    layer = read_bootstrap_layer(io.BytesIO(files.read_blob(manifest.layers[-1])))
    return Parts(
        manifest=json.loads(manifest.raw),
        config=files.read_blob(manifest.config),
        boot=layer.bootstrap,
        diff_id=layer.diff_id,
        others=layer.others,
        blobs={blob.digest: files.read_blob(blob) for blob in manifest.layers[:-1]},
        compressor=Compressor[options.compressor.upper()],
        digester=Digester[options.digester.upper()],
        level=options.level,
        layers=dict(image.blobs) if options.oci_ref else {},
    )


def seal(parts: Parts, work: Path) -> tuple[MemoryFiles, ImageManifest]:
    """Puts the parts together, with digests and sizes of what they are now."""
    files = MemoryFiles(dict(parts.layers))
    new = {str(old): files.add(content) for old, content in parts.blobs.items()}
    tar = parts.spoil_tar(bootstrap_tar(parts, work))
    packed = gzip.compress(tar, 1, mtime=0)
    config = parts.config.replace(parts.diff_id.hex.encode(), Digest.of(tar).hex.encode())
    manifest = json.loads(json.dumps(parts.manifest))
    for layer in manifest["layers"][:-1]:
        config = config.replace(layer["digest"].encode(), str(new[layer["digest"]]).encode())
        layer |= {"digest": str(new[layer["digest"]])} | {"size": len(files.blobs[new[layer["digest"]]])}
    manifest["layers"][-1] |= {"digest": str(files.add(packed)), "size": len(packed)}
    manifest["config"] |= {"digest": str(files.add(config)), "size": len(config)}
    sealed = parse_manifest(encode_json(manifest), media_types.OCI_MANIFEST)
    assert isinstance(sealed, ImageManifest)
    return files, sealed


def bootstrap_tar(parts: Parts, work: Path) -> bytes:
    """The tar of the bootstrap layer, with the names that the blobs have now."""
    boot, names = parts.boot, {}
    for old, content in parts.blobs.items():
        new = Digest.of(content)
        boot = boot.replace(old.hex.encode(), new.hex.encode())
        boot = boot.replace(bytes.fromhex(old.hex), bytes.fromhex(new.hex))  # of an index
        names[f"image/{old.hex}.blob.meta".encode()] = f"{Digest.of(content).hex}.blob.meta"
    files = [(names[name], content) for name, content in parts.others.items()]
    return gzip.decompress(
        write_bootstrap_layer(memoryview(boot), files, work, ConvertOptions()).path.read_bytes()
    )


def replace_chunks(parts: Parts, digest: Digest, stored: bytes, work: Path) -> None:
    """Puts other bytes in the place of a blob's chunks, and seals it inside.

    Chunks that still have a content get the digest of that everywhere: in the blob, in both bootstraps.
    """
    reader = BlobReader(io.BytesIO(parts.blobs[digest]))
    table = chunk_table(parts, digest)
    changed: dict[bytes, bytes] = {}
    for index in range(len(table)):
        start, size = table.compressed_offset[index], table.uncompressed_size[index]
        data = stored[start : start + table.compressed_size[index]]
        try:
            content = data if len(data) == size else decompress(data, size, parts.compressor, "a chunk")
        except BlobError:
            continue
        changed[table.digest(index)] = digest_function(parts.digester)(content)
    boot = change_digests(reader.bootstrap(), changed)
    with SpoolFile(work) as out:
        out.write(stored)
        sections = SectionWriter(out)
        sections.chunks(sum(-(-size // 4096) * 4096 for size in table.uncompressed_size))
        if rafs_version(boot) == 5:
            sections.bootstrap(memoryview(boot), None)
        else:
            _write_tables(sections, reader, table, changed, parts.level)
            sections.bootstrap(memoryview(boot), parts.level)
            sections.contents()
        parts.blobs[digest] = out.commit()[0].read_bytes()
    parts.boot = change_digests(parts.boot, changed)


def _write_tables(
    sections: SectionWriter, reader: BlobReader, table: ChunkTable, changed: dict[bytes, bytes], level: int
) -> None:
    packed = reader.contents[layout.SECTION_CHUNK_INFO].flags is TocFlag.ZSTD
    sections.chunk_info(
        table.encode(), features=layout.FEATURES, entries=len(table), level=level if packed else None
    )
    digests = [table.digest(index) for index in range(len(table))]
    sections.digests(b"".join(changed.get(digest, digest) for digest in digests))


def replace_index(parts: Parts, digest: Digest, encoded: bytes, work: Path) -> None:
    """Puts another chunk info table into the index of a layer, and seals it."""
    reader = BlobReader(io.BytesIO(parts.blobs[digest]))
    was, table = reader.header, reader.chunk_table()
    assert was is not None
    with SpoolFile(work) as out:
        sections = SectionWriter(out)
        header = sections.chunk_info(
            encoded, features=BlobFeature(was.features), entries=was.entries, level=parts.level,
            contexts=(was.zran_offset, was.zran_size, was.zran_count),
        )  # fmt: skip
        sections.digests(bytes(table.digests))
        infos = blob_infos(parts)
        number = next(n for n, info in enumerate(infos) if info.meta_digest.hex() == digest.hex)
        infos[number] = replace(
            infos[number],
            ci_compressor=Compressor(header.compressor),
            ci_compressed_size=header.compressed_size,
        )
        own = replace(infos[number], features=BlobFeature(was.features), meta_digest=bytes(32), meta_size=0)
        sections.bootstrap(memoryview(write_again(reader.bootstrap(), [own])), parts.level)
        sections.contents()
        parts.blobs[digest] = out.commit()[0].read_bytes()
    infos[number] = replace(infos[number], meta_size=len(parts.blobs[digest]))
    parts.boot = write_again(parts.boot, infos)


def change_digests(boot: bytes, changed: dict[bytes, bytes]) -> bytes:
    """A bootstrap with other digests of chunks, and what follows from them."""
    if rafs_version(boot) == 5:
        for old, new in changed.items():
            boot = boot.replace(old, new)
        return seal_inodes(boot)
    head = ExtendedSuperBlock.decode(boot[EXTENDED_SUPERBLOCK_OFFSET:DEVICE_TABLE_OFFSET])
    start, end = head.chunk_table_offset, head.chunk_table_offset + head.chunk_table_size
    rows = np.frombuffer(boot[start:end], CHUNK_RECORD).copy()
    for row in rows:
        row["digest"] = np.void(changed.get(row["digest"].tobytes(), row["digest"].tobytes()))
    # The table is sorted by digest.
    order = sorted(range(len(rows)), key=lambda n: (rows[n]["digest"].tobytes(), rows[n]["blob_index"]))
    return boot[:start] + rows[order].tobytes() + boot[end:]


def seal_inodes(boot: bytes) -> bytes:
    """A spoilt bootstrap of RAFS v5 whose inodes have the digests of what is in it, where it can be read."""
    view = memoryview(boot)
    try:
        head = read_head(view)
        records = read_records(view, head.positions)
    except BootstrapError:
        return boot
    digest = digest_function(head.digester)
    inodes = records.inodes
    digests = [b""] * len(inodes)
    ends = np.cumsum(records.chunk_counts).tolist()
    sealed = bytearray(boot)
    for row in range(len(inodes) - 1, -1, -1):
        first, count = int(inodes["child_index"][row]) - 1, int(inodes["child_count"][row])
        mode, content = int(inodes["mode"][row]), records.targets.get(row, b"")
        if stat.S_ISDIR(mode):
            content = b"".join(digests[first : first + count]) if count else b""
        elif stat.S_ISREG(mode):
            content = records.chunks["digest"][ends[row] - count : ends[row]].tobytes()
        digests[row] = digest(content)
        at = int(head.positions[row])
        sealed[at : at + 32] = digests[row]
    return bytes(sealed)


def seal_contents(blob: bytes, original: bytes) -> bytes:
    """A spoilt blob whose table of contents has the digests of its sections, where they can be read.

    One of RAFS v5 has no such table, but digests in the bootstrap inside.
    """
    reader = BlobReader(io.BytesIO(original))
    contents = reader.contents
    if not contents:
        place = slice(reader.sections[-1].offset, reader.sections[-1].end)
        resealed = blob[: place.start] + seal_inodes(blob[place]) + blob[place.stop :]
        return blob if resealed == original else resealed
    end = len(blob) - layout.SECTION_HEADER_SIZE
    start = end - len(contents) * layout.TOC_ENTRY_SIZE
    sealed = bytearray(blob)
    for number, (name, entry) in enumerate(contents.items()):
        stored = blob[entry.offset : entry.offset + entry.stored_size]
        if name == layout.SECTION_CHUNKS:
            stored += blob[entry.stored_size : entry.stored_size + layout.SECTION_HEADER_SIZE]
        try:
            plain = stored
            if entry.flags is TocFlag.ZSTD:
                plain = decompress(stored, entry.uncompressed_size, Compressor.ZSTD, "a section")
        except BlobError:
            continue
        at = start + number * layout.TOC_ENTRY_SIZE
        was = TocEntry.decode(original[at : at + layout.TOC_ENTRY_SIZE])
        if blob[at : at + layout.TOC_ENTRY_SIZE] == was.encode():
            line = replace(was, sha256=hashlib.sha256(plain).digest()).encode()
            sealed[at : at + layout.TOC_ENTRY_SIZE] = line
    return bytes(sealed)


def flip(content: bytes, position: int, bits: int) -> bytes:
    """The content with some bits of one byte turned."""
    return content[:position] + bytes([content[position] ^ bits]) + content[position + 1 :]


def blob_infos(parts: Parts) -> list[BlobInfo]:
    """What the bootstrap of the image says about its blobs, in the order of its blob table."""
    infos = []
    for record in read_bootstrap(parts.boot).blobs:
        is_index = bool(record.features & BlobFeature.SEPARATE)
        digest = Digest(record.meta_digest.hex() if is_index else record.blob_id.decode())
        infos.append(BlobInfo.of(record, chunk_table(parts, digest)))
    return infos


def chunk_table(parts: Parts, digest: Digest) -> ChunkTable:
    """The chunks of a blob; those of RAFS v5 are told by the bootstrap in it."""
    content = io.BytesIO(parts.blobs[digest])
    if rafs_version(parts.boot) == 6:
        return BlobReader(content).chunk_table()
    blob = Descriptor(media_types.NYDUS_BLOB, digest, len(content.getvalue()))
    chunks = check_plain_blob(content, blob, parts.compressor, parts.digester, print).info.chunks
    assert isinstance(chunks, ChunkTable)
    return chunks


def write_again(boot: bytes, infos: list[BlobInfo], tree: FileTree | None = None) -> bytes:
    """A bootstrap with other blobs, or another tree, and the usual prefetch table."""
    bootstrap = read_bootstrap(boot)
    encode = encode_bootstrap_v5 if bootstrap.version == 5 else encode_bootstrap
    tree = tree or bootstrap.tree
    return bytes(
        encode(
            tree, infos, compressor=bootstrap.compressor, chunk_size=bootstrap.chunk_size,
            digester=bootstrap.digester, prefetch=find_prefetched(tree, PREFETCH_ALL),
        )
    )  # fmt: skip
