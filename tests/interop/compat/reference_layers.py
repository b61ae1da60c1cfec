"""The data of OCI-reference images: layers of the source, read by means of the index beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from converter.blob import BlobReader
from converter.chunk_digest import digest_function
from converter.rafs.layout import Digester
from converter.rafs.reader import Bootstrap
from converter.zran.inflate import inflate_context, stored_range
from tests.interop.conversion import Conversion
from tests.interop.read_back import Contents


def expand_referenced(conversion: Conversion, name: str, target: Path) -> bool:
    """Writes the uncompressed address space of a layer that the image refers to.

    Args:
        conversion: of an image.
        name: of a blob of its bootstrap.
        target: is written.

    Returns:
        False if the blob is no layer of the source.
    """
    found = [one for one in conversion.image.blobs if one.reference and one.reference.digest.hex == name]
    if not found:
        return False
    layer = (conversion.blobs / name).read_bytes()
    with found[0].path.open("rb") as opened, target.open("wb") as output:
        table, windows = BlobReader(opened).chunk_info()

        @lru_cache(4)
        def context(number: int) -> bytes:
            assert windows is not None
            start, size = stored_range(windows, number)
            return inflate_context(windows, number, layer[start : start + size])

        for index in range(len(table)):
            size = table.uncompressed_size[index]
            if windows is None:
                start = table.compressed_offset[index]
                content = layer[start : start + size]
            else:
                start = int(windows.offset[index])
                content = context(int(windows.context[index]))[start : start + size]
            output.seek(table.uncompressed_offset[index])
            output.write(content)
        output.truncate(output.tell() + -output.tell() % 4096)
    return True


class ReferencedContents(Contents):
    """The content of files, from expanded blobs.

    Args:
        bootstrap: what was read.
        devices: the expanded blobs, in its order.
    """

    def __init__(self, bootstrap: Bootstrap, devices: Sequence[Path]) -> None:
        self._rows = bootstrap.chunks
        self._tree = bootstrap.tree
        keys = zip(bootstrap.chunks["blob_index"].tolist(), bootstrap.chunks["index"].tolist(), strict=True)
        self._row = {key: row for row, key in enumerate(keys)}
        self._devices = [device.read_bytes() for device in devices]
        self._digest = digest_function(Digester(bootstrap.digester))

    def sha256(self, inode: int) -> str:
        """SHA-256 of the content of a regular file, each chunk compared with its digest."""
        whole = hashlib.sha256()
        first = self._tree.first_chunk[inode]
        for place in range(first, first + self._tree.chunk_count[inode]):
            blob = self._tree.chunk_blob[place]
            row = self._rows[self._row[blob, self._tree.chunk_refs[place]]]
            start = int(row["uncompressed_offset"])
            content = self._devices[blob][start : start + int(row["uncompressed_size"])]
            assert self._digest(content) == row["digest"].tobytes()
            whole.update(content)
        return whole.hexdigest()
