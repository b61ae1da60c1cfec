"""The bytes of a blob in words: where each chunk lies, chunk info, digests, bootstrap, table of contents."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from converter.blob import layout
from converter.blob.chunk_info_v2 import GzipWindows
from converter.blob.chunk_table import ChunkTable
from converter.blob.framing import Section
from converter.blob.layout import (
    CHUNK_INFO_HEADER_SIZE,
    DIGEST_SIZE,
    SECTION_HEADER_SIZE,
    TOC_ENTRY_SIZE,
    ChunkInfoHeader,
)
from converter.blob.reader import BlobKind, BlobReader
from converter.inspection.dump import dump_bootstrap
from converter.inspection.lines import Claim, account, format_fields
from converter.rafs.layout import CHUNK_INFO_V1_SIZE, CHUNK_INFO_V2_SIZE, BlobFeature, Compressor

_INSIDE: Final = "    "


def dump_blob(reader: BlobReader) -> Iterator[str]:
    """Writes a blob out, section by section; of chunks only where they lie, so that little is read.

    What is inside a compressed section comes after it, with offsets in what it unpacks to.

    Raises:
        BlobError: it breaks the format.
        BootstrapError: the bootstrap inside it does.
    """
    table, windows = reader.chunk_info()
    claims = chain.from_iterable(
        _section_claims(reader, section, table, windows) for section in reader.sections
    )
    yield from account(claims, 0, reader.size, reader.read)


def _section_claims(
    reader: BlobReader, section: Section, table: ChunkTable, windows: GzipWindows | None
) -> Iterator[Claim]:
    header = reader.header
    if section.name == layout.SECTION_CHUNKS:
        if section.size and header is not None and not header.features & BlobFeature.SEPARATE:
            yield from _chunks(table)
        elif section.size:
            yield Claim(section.offset, section.size, "chunks, which only a bootstrap of RAFS v5 describes")
    elif section.name == layout.SECTION_CHUNK_INFO and header is not None:
        yield from _chunk_info(header, table, windows)
    elif section.name == layout.SECTION_DIGESTS:
        for index in range(len(table)):
            at = section.offset + index * DIGEST_SIZE
            yield Claim(at, DIGEST_SIZE, f"digest of chunk {index} {table.digest(index).hex()}")
    elif section.name == layout.SECTION_BOOTSTRAP:
        lines = (_INSIDE + line for line in dump_bootstrap(reader.bootstrap()))
        yield Claim(section.offset, section.size, "bootstrap:", lines)
    else:
        for number, entry in enumerate(reader.contents.values()):
            text = format_fields(
                name=entry.name.decode(), flags=entry.flags.name, offset=f"{entry.offset:#x}",
                stored_size=entry.stored_size, uncompressed_size=entry.uncompressed_size,
                sha256=entry.sha256.hex(),
            )  # fmt: skip
            at = section.offset + number * TOC_ENTRY_SIZE
            yield Claim(at, TOC_ENTRY_SIZE, f"contents {text}")
    if reader.kind is not BlobKind.PLAIN:
        elsewhere = f", {section.elsewhere} bytes of it in another blob" if section.elsewhere else ""
        yield Claim(section.end, SECTION_HEADER_SIZE, f"tar header of {section.name.decode()}{elsewhere}")


def _chunks(table: ChunkTable) -> Iterator[Claim]:
    for index in range(len(table)):
        text = _show_chunk(table, index)
        yield Claim(table.compressed_offset[index], table.compressed_size[index], f"stored {text}")


def _chunk_info(header: ChunkInfoHeader, table: ChunkTable, windows: GzipWindows | None) -> Iterator[Claim]:
    compressor = Compressor(header.compressor)
    rows = _rows(header, table, windows)
    if compressor is Compressor.NONE:
        for row in rows:
            yield Claim(header.offset + row.offset, row.size, row.text)
    else:
        text = f"chunk info, {compressor.name.lower()} of {header.uncompressed_size} bytes:"
        lines = account(rows, 0, header.uncompressed_size, _no_bytes)
        yield Claim(header.offset, header.compressed_size, text, (_INSIDE + line for line in lines))
    text = format_fields(
        features=f"{header.features:#x}", compressor=compressor.name.lower(), entries=header.entries,
        offset=f"{header.offset:#x}", compressed_size=header.compressed_size,
        uncompressed_size=header.uncompressed_size, zran_offset=f"{header.zran_offset:#x}",
        zran_size=header.zran_size, zran_count=header.zran_count,
    )  # fmt: skip
    end = header.offset + header.compressed_size
    yield Claim(end, CHUNK_INFO_HEADER_SIZE, f"chunk info header {text}")


def _no_bytes(offset: int, size: int) -> bytes:
    """Bytes of a chunk info table that are no record; the reader has seen to it that there are none."""
    raise AssertionError(f"{size} bytes at {offset} of the chunk info table are no record")


def _rows(header: ChunkInfoHeader, table: ChunkTable, windows: GzipWindows | None) -> Iterator[Claim]:
    """What an uncompressed chunk info table has, by offset in it."""
    size = CHUNK_INFO_V2_SIZE if header.features & BlobFeature.CHUNK_INFO_V2 else CHUNK_INFO_V1_SIZE
    for index in range(len(table)):
        more = ""
        if windows is not None:
            more = " " + format_fields(context=windows.context[index], at=windows.offset[index])
        yield Claim(index * size, size, f"{_show_chunk(table, index)}{more}")
    if windows is None:
        return
    at = len(table) * size
    for number, context in enumerate(windows.contexts):
        yield Claim(at, context.itemsize, f"inflate context {number} {_show_context(context)}")
        at += context.itemsize
    if windows.dictionaries:
        yield Claim(at, len(windows.dictionaries), "dictionaries of the inflate contexts")


def _show_context(context: Any) -> str:
    return format_fields(**{name: context[name] for name in context.dtype.names})


def _show_chunk(table: ChunkTable, index: int) -> str:
    return f"chunk {index} " + format_fields(
        offset=f"{table.compressed_offset[index]:#x}", stored_size=table.compressed_size[index],
        uncompressed_offset=f"{table.uncompressed_offset[index]:#x}", size=table.uncompressed_size[index],
    )  # fmt: skip
