"""Spoils a converted image and seals it again: every digest, size and manifest fits what is in it then.

What is left for a check to find is the content itself.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.blob import BlobReader, layout
from converter.blob.codec import decompress
from converter.blob.layout import TocEntry, TocFlag
from converter.blob.sections import SectionWriter
from converter.blob.spool_file import SpoolFile
from converter.bootstrap_layer import write_bootstrap_layer
from converter.bootstrap_reader import read_bootstrap_layer
from converter.chunk_digest import digest_function
from converter.errors import BlobError
from converter.oci import Digest, ImageManifest, encode_json, media_types, parse_manifest
from converter.options import ConvertOptions
from converter.rafs.blobs import BlobInfo
from converter.rafs.layout import (
    CHUNK_RECORD,
    DEVICE_TABLE_OFFSET,
    EXTENDED_SUPERBLOCK_OFFSET,
    BlobFeature,
    Compressor,
    Digester,
)
from converter.rafs.reader import read_bootstrap
from converter.rafs.records import ExtendedSuperBlock
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
    )


def seal(parts: Parts, work: Path) -> tuple[MemoryFiles, ImageManifest]:
    """Puts the parts together, with digests and sizes of what they are now."""
    files = MemoryFiles()
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
        boot = boot.replace(old.hex.encode(), Digest.of(content).hex.encode())
        names[f"image/{old.hex}.blob.meta".encode()] = f"{Digest.of(content).hex}.blob.meta"
    files = [(names[name], content) for name, content in parts.others.items()]
    return gzip.decompress(
        write_bootstrap_layer(memoryview(boot), files, work, ConvertOptions()).path.read_bytes()
    )


def replace_chunks(parts: Parts, digest: Digest, stored: bytes, work: Path) -> None:
    """Puts other bytes in the place of a blob's chunks, and seals it inside.

    Chunks that still have a content get the digest of that everywhere: in the blob, in both bootstraps.
    """
    blob = parts.blobs[digest]
    reader = BlobReader(io.BytesIO(blob))
    table = reader.chunk_table()
    changed: dict[bytes, bytes] = {}
    for index in range(len(table)):
        start, size = table.compressed_offset[index], table.uncompressed_size[index]
        data = stored[start : start + table.compressed_size[index]]
        try:
            content = data if len(data) == size else decompress(data, size, parts.compressor, "a chunk")
        except BlobError:
            continue
        changed[table.digest(index)] = digest_function(parts.digester)(content)
    digests = b"".join(changed.get(table.digest(index), table.digest(index)) for index in range(len(table)))
    with SpoolFile(work) as out:
        out.write(stored)
        sections = SectionWriter(out)
        sections.chunks(reader.contents[layout.SECTION_CHUNKS].uncompressed_size)
        packed = reader.contents[layout.SECTION_CHUNK_INFO].flags is TocFlag.ZSTD
        level = parts.level if packed else None
        sections.chunk_info(table.encode(), features=layout.FEATURES, entries=len(table), level=level)
        sections.digests(digests)
        sections.bootstrap(memoryview(change_digests(reader.bootstrap(), changed)), parts.level)
        sections.contents()
        parts.blobs[digest] = out.commit()[0].read_bytes()
    parts.boot = change_digests(parts.boot, changed)


def change_digests(boot: bytes, changed: dict[bytes, bytes]) -> bytes:
    """A bootstrap with other digests in its chunk table, which is sorted by them."""
    head = ExtendedSuperBlock.decode(boot[EXTENDED_SUPERBLOCK_OFFSET:DEVICE_TABLE_OFFSET])
    start, end = head.chunk_table_offset, head.chunk_table_offset + head.chunk_table_size
    rows = np.frombuffer(boot[start:end], CHUNK_RECORD).copy()
    for row in rows:
        row["digest"] = np.void(changed.get(row["digest"].tobytes(), row["digest"].tobytes()))
    order = sorted(range(len(rows)), key=lambda n: (rows[n]["digest"].tobytes(), rows[n]["blob_index"]))
    return boot[:start] + rows[order].tobytes() + boot[end:]


def seal_contents(blob: bytes, original: bytes) -> bytes:
    """A spoilt blob whose table of contents has the digests of its sections, where they can be read."""
    contents = BlobReader(io.BytesIO(original)).contents
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
        digest = Digest(record.blob_id.decode())
        reader = BlobReader(io.BytesIO(parts.blobs[digest]))
        infos.append(
            BlobInfo(
                blob_id=digest.hex,
                compressor=Compressor(record.compressor),
                features=BlobFeature(record.features),
                compressed_size=record.compressed_size,
                uncompressed_size=record.uncompressed_size,
                ci_compressor=Compressor(record.ci_compressor),
                ci_offset=record.ci_offset,
                ci_compressed_size=record.ci_compressed_size,
                ci_uncompressed_size=record.ci_uncompressed_size,
                chunks=reader.chunk_table(),
                digester=parts.digester,
            )
        )
    return infos
