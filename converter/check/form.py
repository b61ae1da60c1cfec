"""Holds bootstraps against what the encoder makes of the same files: accounts for bytes that nobody reads.

A reader takes padding, reserved fields and numbers that only other readers use as they are. Since equal input
gives equal bytes, the bytes of a bootstrap follow from what it says, and any other byte is damage.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Final

import numpy as np

from converter.check.blob import CheckedBlob
from converter.errors import LimitExceededError
from converter.prefetch import find_prefetched
from converter.rafs.blobs import BlobInfo
from converter.rafs.bootstrap import encode_bootstrap
from converter.rafs.layout import UNKNOWN_BLOB_ID, BlobFeature
from converter.rafs.nodes import column
from converter.rafs.reader import Bootstrap
from converter.rafs5.bootstrap import encode_bootstrap as encode_bootstrap_v5
from converter.read_back import compare_chunks
from converter.tree_compare import DIGEST, TreeContent

_SHOWN_PATHS: Final = 3


def own_blob(blob: CheckedBlob) -> CheckedBlob:
    """A blob as the bootstrap inside it names it, which cannot know the blob's name (§2.7)."""
    features = blob.info.features | BlobFeature.INLINED_FS_META
    if features & BlobFeature.SEPARATE:
        return replace(blob, info=replace(blob.info, features=features, meta_digest=bytes(32), meta_size=0))
    return replace(blob, info=replace(blob.info, blob_id=UNKNOWN_BLOB_ID, features=features))


def bootstrap_content(bootstrap: Bootstrap, blobs: Mapping[str, CheckedBlob]) -> TreeContent:
    """The tree of a bootstrap, with digests of what its blobs really hold.

    Args:
        bootstrap: of a layer or an image.
        blobs: its blobs by id; content of others counts as zeros.
    """
    tree = bootstrap.tree
    digests = np.zeros(len(tree.chunk_refs), DIGEST)
    refs, blob_of = column(tree.chunk_refs), column(tree.chunk_blob)
    for number, record in enumerate(bootstrap.blobs):
        blob = blobs.get(record.blob_id.decode())
        if blob is None:
            continue
        uses = np.flatnonzero(blob_of == number)
        inside = uses[refs[uses] < len(blob.content)]
        digests[inside] = blob.content[refs[inside]]
    return TreeContent(tree, digests)


def compare_blob_records(bootstrap: Bootstrap, blobs: Mapping[str, CheckedBlob]) -> Iterator[str]:
    """Compares the blob table and the chunk table of a bootstrap with the blobs."""
    for number, record in enumerate(bootstrap.blobs):
        blob_id = record.blob_id.decode()
        blob = blobs.get(blob_id)
        if blob is None:
            yield f"the blob table names {blob_id}, which the manifest does not have or which cannot be read"
            continue
        expected = blob.info.record(number, bootstrap.chunk_size)
        for field in fields(expected):
            want, have = getattr(expected, field.name), getattr(record, field.name)
            if want != have:
                yield f"the blob table says of {blob_id}: {field.name} is {have!r}, should be {want!r}"
        yield from compare_chunks(bootstrap, number, blob.info, blob.digests)


def _encode(bootstrap: Bootstrap, blobs: Sequence[BlobInfo], prefetch: Sequence[int]) -> bytes | memoryview:
    encode = encode_bootstrap_v5 if bootstrap.version == 5 else encode_bootstrap
    return encode(
        bootstrap.tree,
        blobs,
        compressor=bootstrap.compressor,
        digester=bootstrap.digester,
        chunk_size=bootstrap.chunk_size,
        prefetch=prefetch,
    )


def _few(paths: Sequence[str | bytes]) -> str:
    shown = ", ".join(repr(os.fsdecode(path)) for path in paths[:_SHOWN_PATHS])
    more = f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
    return (shown + more) or "nothing"


def compare_form(
    data: bytes, bootstrap: Bootstrap, blobs: Mapping[str, CheckedBlob], prefetch: Sequence[str]
) -> Iterator[str]:
    """Compares the bytes of a bootstrap with those that the encoder gives for the same content.

    Args:
        data: the bootstrap.
        bootstrap: the same, read.
        blobs: its blobs by id; if one is missing, nothing is compared.
        prefetch: the paths of which its prefetch table shall list those that it has.
    """
    infos = [
        blobs[record.blob_id.decode()].info for record in bootstrap.blobs if record.blob_id.decode() in blobs
    ]
    if len(infos) != len(bootstrap.blobs):
        return
    listed = find_prefetched(bootstrap.tree, prefetch)
    try:
        again = _encode(bootstrap, infos, listed)
    except (ValueError, LimitExceededError) as error:
        yield f"what it says cannot be written: {error}"
        return
    if again == data:
        return
    own = find_prefetched(bootstrap.tree, [os.fsdecode(path) for path in bootstrap.prefetch])
    if own != listed and _encode(bootstrap, infos, own) == data:
        yield (
            f"its prefetch table lists {_few(bootstrap.prefetch)}, not what {_few(prefetch)} gives; "
            "if the conversion was given --prefetch or --prefetch-trace, the check needs the same"
        )
    else:
        size = min(len(again), len(data))
        wrong = np.flatnonzero(np.frombuffer(again, np.uint8)[:size] != np.frombuffer(data, np.uint8)[:size])
        where = int(wrong[0]) if len(wrong) else size
        yield f"its bytes are not those that go with its content, from the offset {where} on"
