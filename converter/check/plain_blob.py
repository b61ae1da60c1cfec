"""Checks a data blob of RAFS v5: chunks, and the layer's bootstrap, which alone says where they are (§9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from converter.blob import layout
from converter.blob.chunk_table import ChunkTable
from converter.blob.layout import section_header
from converter.blob.reader import BlobKind, BlobReader
from converter.blob.writer import Blob5Writer
from converter.check.blob import BlobStream, CheckedBlob, check_chunks
from converter.errors import BlobError, BootstrapError
from converter.oci import Descriptor
from converter.rafs.blobs import BlobInfo
from converter.rafs.layout import UNKNOWN_BLOB_ID, BlobFeature, Compressor, Digester
from converter.rafs.nodes import column
from converter.rafs.reader import Bootstrap, read_bootstrap
from converter.rafs.records import BlobRecord
from converter.tree_compare import DIGEST, Digests

_WITH_CHUNKS: Final = [layout.SECTION_CHUNKS, layout.SECTION_BOOTSTRAP]


def check_plain_blob(
    file: BinaryIO,
    descriptor: Descriptor,
    compressor: Compressor,
    digester: Digester,
    report: Callable[[str], None],
) -> CheckedBlob:
    """Checks a blob of RAFS v5.

    Args:
        file: the blob, seekable.
        descriptor: its digest and size.
        compressor: of its chunks, as its image says.
        digester: of its chunks.
        report: told what is wrong with parts of it.

    Returns:
        What it holds. Chunks that no file of the layer has, because a later entry of its tar took the file's
        place, have the size 0: nothing says where they lie, so all that is known of them is their number.

    Raises:
        BlobError: it is so wrong that its parts cannot be told.
    """
    reader = BlobReader(file)
    names = [section.name for section in reader.sections]
    if reader.kind is not BlobKind.HEADERS or names not in ([layout.SECTION_BOOTSTRAP], _WITH_CHUNKS):
        raise BlobError(f"it is a blob of {reader.kind.value} {names}; one of RAFS v5 has other ones")
    for section in reader.sections:
        header = reader.read(section.end, layout.SECTION_HEADER_SIZE)
        if header != section_header(section.name, section.size):
            report(f"the tar header behind {section.name.decode()} is wrong")
    stored = reader.sections[0].size if names == _WITH_CHUNKS else 0
    bootstrap, record = _read_bootstrap(reader)
    info = BlobInfo(
        blob_id=descriptor.digest.hex,
        compressor=compressor,
        digester=digester,
        features=Blob5Writer.features & ~BlobFeature.INLINED_FS_META,
        compressed_size=reader.sections[-1].offset,
        uncompressed_size=record.uncompressed_size if record else 0,
        ci_compressor=Compressor.NONE,
        ci_offset=0,
        ci_compressed_size=0,
        ci_uncompressed_size=0,
        chunks=_chunk_table(bootstrap, record, stored),
    )
    stream = BlobStream(file, descriptor.size)
    content, digests = check_chunks(stream, info, stored, report)
    for _ in stream.rest():
        pass
    if stream.digest.hexdigest() != descriptor.digest.hex:
        report(f"it has the digest sha256:{stream.digest.hexdigest()}")
    return CheckedBlob(info, content, digests, b"")


def compare_pieces(blob: CheckedBlob, digests: Digests, sizes: npt.NDArray[np.uint32]) -> Iterator[str]:
    """Compares the chunks of a blob with what the layer's content is cut into: each piece once, in order.

    Args:
        blob: as `check_plain_blob` gave it.
        digests: of the distinct pieces of the layer, in order.
        sizes: of those.
    """
    table = blob.info.chunks
    have = column(table.uncompressed_size)
    if len(have) != len(sizes):
        yield f"it has {len(have)} chunks, should have {len(sizes)}"
        return
    ends = np.cumsum(sizes, dtype=np.uint64)
    total = int(ends[-1]) if len(ends) else 0
    if blob.info.uncompressed_size != total:
        yield f"its chunks are said to have {blob.info.uncompressed_size} bytes, should have {total}"
    wrong = (have != sizes) | (column(table.uncompressed_offset) != ends - sizes) | (blob.content != digests)
    for index in np.flatnonzero(wrong & (have > 0)).tolist():
        yield f"chunk {index} is not the piece of the layer that it should be"


def _read_bootstrap(reader: BlobReader) -> tuple[Bootstrap, BlobRecord | None]:
    """The bootstrap in the blob, and what it says of the blob; None if no file has content."""
    try:
        bootstrap = read_bootstrap(reader.bootstrap())
    except BootstrapError as error:
        raise BlobError(f"the bootstrap in it: {error}") from error
    ids = [record.blob_id.decode() for record in bootstrap.blobs]
    if bootstrap.version != 5 or ids not in ([], [UNKNOWN_BLOB_ID]):
        raise BlobError(f"the bootstrap in it is of RAFS v{bootstrap.version} and names the blobs {ids}")
    return bootstrap, bootstrap.blobs[0] if ids else None


def _chunk_table(bootstrap: Bootstrap, record: BlobRecord | None, stored: int) -> ChunkTable:
    """The chunks of the blob by their numbers; those that no file has stay zero."""
    rows = bootstrap.chunks
    count = record.chunk_count if record else 0
    ends = rows["compressed_offset"] + rows["compressed_size"]
    if count > stored or (len(rows) and (rows["index"][-1] >= count or ends[-1] > stored)):
        raise BlobError(f"its {stored} bytes of chunks do not go with the bootstrap in it")
    if (rows["compressed_offset"][1:] < ends[:-1]).any():
        raise BlobError("the stored chunks overlap or are not in order")
    table = ChunkTable()
    digests = np.zeros(count, DIGEST)
    digests[rows["index"]] = rows["digest"]
    table.digests += digests.tobytes()
    for name in ("uncompressed_size", "uncompressed_offset", "compressed_size", "compressed_offset"):
        values = np.zeros(count, getattr(table, name).typecode)
        values[rows["index"]] = rows[name]
        getattr(table, name).frombytes(values.tobytes())
    return table
