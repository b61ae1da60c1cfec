"""Reads a bootstrap back before it leaves, and compares it with what it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np

from converter.errors import BootstrapError
from converter.rafs.blobs import BlobInfo
from converter.rafs.nodes import column
from converter.rafs.reader import Bootstrap, read_bootstrap
from converter.tree import FileTree
from converter.tree_compare import DIGEST, Digests, Rows, TreeContent, compare_trees

_SHOWN: Final = 5
_COLUMNS: Final = ("uncompressed_size", "uncompressed_offset", "compressed_size", "compressed_offset")


def read_back(data: bytes | memoryview, tree: FileTree, blobs: Sequence[BlobInfo]) -> Bootstrap:
    """Reads what was written, and holds it against what was meant: every entry, every chunk.

    Args:
        data: the bootstrap.
        tree: its files; `chunk_blob` are indexes into `blobs`.
        blobs: what was known of the blobs.

    Raises:
        BootstrapError: it breaks the format, or says something else.
    """
    bootstrap = read_bootstrap(data)
    infos = {info.blob_id: info for info in blobs}
    meant = TreeContent(tree, _digests_of(tree, blobs))
    said = TreeContent(bootstrap.tree, bootstrap.chunks["digest"][chunk_rows(bootstrap)])
    wrong = list(islice(compare_trees(meant, said), _SHOWN))
    for number, record in enumerate(bootstrap.blobs):
        info = infos.get(record.blob_id.decode())
        if info is None:
            wrong.append(f"the blob table names {record.blob_id.decode()}")
        else:
            digests = np.frombuffer(bytes(info.chunks.digests), DIGEST)
            wrong += islice(compare_chunks(bootstrap, number, info, digests), _SHOWN)
    if wrong:
        raise BootstrapError(f"the bootstrap does not say what was meant: {'; '.join(wrong[:_SHOWN])}")
    return bootstrap


def chunk_rows(bootstrap: Bootstrap) -> Rows:
    """For each item of the tree's `chunk_refs`, its row in the chunk table."""
    tree, rows = bootstrap.tree, bootstrap.chunks
    keys = rows["blob_index"].astype(np.int64) << 32 | rows["index"]
    order = np.argsort(keys)
    wanted = column(tree.chunk_blob).astype(np.int64) << 32 | column(tree.chunk_refs)
    return order[np.searchsorted(keys[order], wanted)] if len(wanted) else np.zeros(0, np.intp)


def compare_chunks(bootstrap: Bootstrap, number: int, info: BlobInfo, digests: Digests) -> Iterator[str]:
    """Compares the chunk table, as far as it is about one blob, with the blob.

    Args:
        bootstrap: says what is compared.
        number: of the blob in its blob table.
        info: what is known of the blob.
        digests: of the blob's chunks.
    """
    rows = bootstrap.chunks[bootstrap.chunks["blob_index"] == number]
    chunks, index = info.chunks, rows["index"]
    if len(index) and index.max() >= len(chunks.uncompressed_size):
        yield f"the chunk table uses chunk {index.max()} of {info.blob_id}, which has fewer"
        return
    columns = {name: column(getattr(chunks, name))[index] for name in _COLUMNS}
    columns["digest"] = digests[index]
    for name, expected in columns.items():
        for row in np.flatnonzero(rows[name] != expected).tolist():
            yield f"the chunk table has another {name} for chunk {index[row]} of {info.blob_id} than the blob"


def _digests_of(tree: FileTree, blobs: Sequence[BlobInfo]) -> Digests:
    """The digest of each item of `chunk_refs`."""
    refs, blob_of = column(tree.chunk_refs), column(tree.chunk_blob)
    digests = np.zeros(len(refs), DIGEST)
    for number in np.unique(blob_of).tolist():
        uses = blob_of == number
        digests[uses] = np.frombuffer(bytes(blobs[number].chunks.digests), DIGEST)[refs[uses]]
    return digests
