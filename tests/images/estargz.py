"""Layers in eStargz form (stargz-snapshotter 0.15, docs/estargz.md): gzip members to be read one by one.

Beside the files of the image there is a landmark in the root, which says how far to prefetch, and the table
of contents as the last entry, which a footer points to.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

from tests.images.tar import END, Entry, encode_entry

LANDMARKS = (b".prefetch.landmark", b".no.prefetch.landmark")
TOC_NAME = b"stargz.index.json"


def encode_estargz(entries: Sequence[Entry], prioritised: int = 0) -> tuple[bytes, bytes]:
    """Writes a layer.

    Args:
        entries: of the image.
        prioritised: how many of them come before the landmark; with none the other landmark is the first
            entry.

    Returns:
        The stored bytes, and the tar in them.
    """
    landmark = Entry(LANDMARKS[0] if prioritised else LANDMARKS[1], content=b"\x0f")
    ordered = [*entries[:prioritised], landmark, *entries[prioritised:]]
    members, toc, offset = [], [], 0
    for entry in ordered:
        members.append(encode_entry(entry))
        toc.append({"name": entry.name.decode(errors="replace"), "type": "reg", "offset": offset})
        offset += len(_gzip(members[-1]))
    contents = json.dumps({"version": 1, "entries": toc}).encode()
    members.append(encode_entry(Entry(TOC_NAME, content=contents)) + END)
    return b"".join(map(_gzip, members)) + _footer(offset), b"".join(members)


def _gzip(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(content) + packer.flush()


def _footer(toc_offset: int) -> bytes:
    """An empty gzip member whose extra field has the offset of the table of contents."""
    extra = b"SG" + (22).to_bytes(2, "little") + b"%016xSTARGZ" % toc_offset
    header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + len(extra).to_bytes(2, "little")
    footer = header + extra + b"\x01\0\0\xff\xff" + bytes(8)
    assert len(footer) == 51
    return footer
