"""Reads a data blob from its first byte to its last, and accounts for every one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
from blake3 import blake3

from converter.blob import layout
from converter.blob.chunk_table import ChunkTable
from converter.blob.codec import decompress
from converter.blob.layout import ChunkInfoHeader, TocEntry, TocFlag, section_header
from converter.blob.reader import BlobKind, BlobReader
from converter.chunk_digest import digest_function
from converter.errors import BlobError
from converter.oci import Descriptor
from converter.rafs.blobs import BlobInfo
from converter.rafs.layout import BlobFeature, Compressor, Digester, round_up
from converter.tree_compare import DIGEST, Digests

_BLOCK: Final = 1 << 20
_ZSTD_DESCRIPTOR: Final = 4  # offset of the frame header's first byte (RFC 8878 §3.1.1.1)
_ZSTD_UNUSED_BIT: Final = 0x10


@dataclass(frozen=True, slots=True)
class CheckedBlob:
    """What a blob holds.

    Args:
        info: what a bootstrap should say about it, with its chunk table.
        content: BLAKE3 of the content of each chunk, as it came out of the stored bytes; zeros for a chunk
            that did not.
        digests: the digest of that content by which the image knows the chunk.
        cache_file: what nydusd's cache would keep of it (§1.5); empty without chunks.
    """

    info: BlobInfo
    content: Digests
    digests: Digests
    cache_file: bytes


def check_blob(
    file: BinaryIO,
    descriptor: Descriptor,
    compressor: Compressor,
    digester: Digester,
    report: Callable[[str], None],
) -> CheckedBlob:
    """Checks a blob with a table of contents.

    Args:
        file: the blob, seekable.
        descriptor: its digest and size.
        compressor: of its chunks, as its image says.
        digester: of its chunks.
        report: told what is wrong with parts of it.

    Raises:
        BlobError: it is so wrong that its parts cannot be told.
    """
    reader = BlobReader(file, compressor=compressor, digester=digester)
    if reader.kind is not BlobKind.CONTENTS or layout.SECTION_BOOTSTRAP not in reader.contents:
        raise BlobError(f"it is a blob of {reader.kind.value}; what converters write ends otherwise")
    table = reader.chunk_table()
    Framing(reader.contents, file).check(report)
    info = _info(descriptor, reader.contents, table, compressor, digester)
    stream = BlobStream(file, descriptor.size)
    chunk_section = reader.contents.get(layout.SECTION_CHUNKS)
    stored = chunk_section.stored_size if chunk_section is not None else 0
    content, digests = check_chunks(stream, info, stored, report)
    if chunk_section is not None:
        stream.take(layout.SECTION_HEADER_SIZE)
        if stream.digest.digest() != chunk_section.sha256:
            report("the table of contents has another digest of the chunks")
    for _ in stream.rest():
        pass
    if stream.digest.hexdigest() != descriptor.digest.hex:
        report(f"it has the digest sha256:{stream.digest.hexdigest()}")
    return CheckedBlob(info, content, digests, _check_chunk_info(file, reader.contents, info, table, report))


def check_file_digest(file: BinaryIO, descriptor: Descriptor, report: Callable[[str], None]) -> None:
    """Reads a file from its beginning to its end, and compares its digest.

    Raises:
        BlobError: it is shorter than the descriptor says.
    """
    stream = BlobStream(file, descriptor.size)
    for _ in stream.rest():
        pass
    if stream.digest.hexdigest() != descriptor.digest.hex:
        report(f"it has the digest sha256:{stream.digest.hexdigest()}")


class BlobStream:
    """A file from its beginning to its end, hashed on the way.

    Args:
        file: seekable.
        size: its bytes.

    Attributes:
        position: how many of them were read.
        digest: SHA-256 of those.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.position = 0
        self.digest = hashlib.sha256()
        file.seek(0)

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            BlobError: there are fewer.
        """
        data = self._file.read(count)
        if len(data) != count:
            raise BlobError(f"the blob ends {count - len(data)} bytes too early")
        self.position += count
        self.digest.update(data)
        return data

    def pass_over(self, end: int, report: Callable[[str], None] | None) -> None:
        """Uses up bytes between chunks, which mean nothing; tells where they are not zero."""
        while self.position < end:
            data = self.take(min(end - self.position, _BLOCK))
            if report is not None and data.count(0) != len(data):
                report(
                    f"between chunks, before the offset {self.position}, there is something else than zeros"
                )

    def rest(self) -> Iterator[bytes]:
        """All that is left, in pieces."""
        while self.position < self._size:
            yield self.take(min(self._size - self.position, _BLOCK))


def check_chunks(
    stream: BlobStream, info: BlobInfo, stored: int, report: Callable[[str], None]
) -> tuple[Digests, Digests]:
    """Reads the chunks of a blob.

    Args:
        stream: the blob, at its start.
        info: its chunks, in the order of their offsets. Of one with the size 0 nothing is known but that it
            lies between its neighbours.
        stored: where the chunks end.
        report: told what is wrong with chunks, or stands between them.

    Returns:
        BLAKE3 of the content of each chunk, and the digest that the image uses.
    """
    chunks, digest_of = info.chunks, digest_function(info.digester)
    content = np.zeros(len(chunks.uncompressed_size), DIGEST)
    digests = content if info.digester is Digester.BLAKE3 else content.copy()
    stated = np.frombuffer(bytes(chunks.digests), DIGEST)
    columns = (chunks.compressed_offset, chunks.compressed_size, chunks.uncompressed_size)
    is_unknown = False
    for index, (offset, stored_size, size) in enumerate(zip(*columns, strict=True)):
        if not size:
            is_unknown = True
            continue
        stream.pass_over(offset, None if is_unknown else report)
        is_unknown = False
        data = stream.take(stored_size)
        try:
            if stored_size < size:
                if info.compressor is Compressor.ZSTD and _has_unused_bit(data):
                    report(f"chunk {index} has a bit in its zstd frame that means nothing and must be 0")
                data = decompress(data, size, info.compressor, f"chunk {index}")
        except BlobError as error:
            report(str(error))
            continue
        content[index] = np.void(blake3(data).digest())
        if digests is not content:
            digests[index] = np.void(digest_of(data))
        if len(stated) and digests[index] != stated[index]:
            report(f"chunk {index} does not match its digest")
    stream.pass_over(stored, None if is_unknown else report)
    return content, digests


class Framing:
    """The sections of a blob, which must follow each other without gap, each with its tar header (§2.1)."""

    def __init__(self, contents: dict[bytes, TocEntry], file: BinaryIO) -> None:
        self._contents = contents
        self._file = file
        self._position = 0

    def check(self, report: Callable[[str], None]) -> None:
        """Checks offsets and headers."""
        contents = self._contents
        for name in contents:
            entry = contents[name]
            if entry.offset != self._position:
                report(f"{name.decode()} begins at {entry.offset}, not at {self._position}")
            self._position = entry.offset + entry.stored_size
            size = entry.stored_size
            if name == layout.SECTION_CHUNK_INFO:
                continue  # its header is part of the same section
            if name == layout.SECTION_CHUNK_INFO_HEADER:
                size += contents[layout.SECTION_CHUNK_INFO].stored_size
                name = layout.SECTION_CHUNK_INFO
            self._header(name, size, report)
        end = self._position + len(contents) * layout.TOC_ENTRY_SIZE + layout.SECTION_HEADER_SIZE
        if end != self._file.seek(0, 2):
            report(f"it has {self._file.seek(0, 2)} bytes, its sections end at {end}")

    def _header(self, name: bytes, size: int, report: Callable[[str], None]) -> None:
        self._file.seek(self._position)
        if self._file.read(layout.SECTION_HEADER_SIZE) != section_header(name, size):
            report(f"the tar header behind {name.decode()} is wrong")
        self._position += layout.SECTION_HEADER_SIZE


def _check_chunk_info(
    file: BinaryIO,
    contents: dict[bytes, TocEntry],
    info: BlobInfo,
    table: ChunkTable,
    report: Callable[[str], None],
) -> bytes:
    """Holds the header of the chunk info table against the table; gives the file for nydusd's cache."""
    entry = contents.get(layout.SECTION_CHUNK_INFO_HEADER)
    if entry is None:
        return b""
    expected = ChunkInfoHeader(
        features=layout.FEATURES,
        compressor=info.ci_compressor,
        entries=len(table),
        offset=info.ci_offset,
        compressed_size=info.ci_compressed_size,
        uncompressed_size=info.ci_uncompressed_size,
    ).encode()
    file.seek(entry.offset)
    if file.read(layout.CHUNK_INFO_HEADER_SIZE) != expected:
        report("the header of the chunk info table does not describe the table")
    plain = table.encode()
    return plain + bytes(-len(plain) % layout.CHUNK_INFO_HEADER_SIZE) + expected


def _info(
    descriptor: Descriptor,
    contents: dict[bytes, TocEntry],
    table: ChunkTable,
    compressor: Compressor,
    digester: Digester,
) -> BlobInfo:
    """What bootstraps should say of a blob, told from the blob alone."""
    chunk_info = contents.get(layout.SECTION_CHUNK_INFO)
    end = table.uncompressed_offset[-1] + table.uncompressed_size[-1] if len(table) else 0
    return BlobInfo(
        blob_id=descriptor.digest.hex,
        compressor=compressor,
        digester=digester,
        features=layout.FEATURES & ~BlobFeature.INLINED_FS_META,
        compressed_size=contents[layout.SECTION_BOOTSTRAP].offset,
        uncompressed_size=round_up(end, layout.CHUNK_ALIGNMENT),
        ci_compressor=Compressor.ZSTD if chunk_info and chunk_info.flags is TocFlag.ZSTD else Compressor.NONE,
        ci_offset=chunk_info.offset if chunk_info else 0,
        ci_compressed_size=chunk_info.stored_size if chunk_info else 0,
        ci_uncompressed_size=chunk_info.uncompressed_size if chunk_info else 0,
        chunks=table,
    )


def _has_unused_bit(frame: bytes) -> bool:
    return len(frame) > _ZSTD_DESCRIPTOR and bool(frame[_ZSTD_DESCRIPTOR] & _ZSTD_UNUSED_BIT)
