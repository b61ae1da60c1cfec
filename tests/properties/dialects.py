"""Specimens as tars, in the dialects that layers come in, by writers that know nothing of the converter."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Callable, Mapping

from tests.images.tar import (
    BLOCK_DEVICE,
    CHAR,
    DIRECTORY,
    FIFO,
    GNU_SPARSE,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
    Form,
    encode_tar,
    pax_records,
)
from tests.properties.specimens import Item, Specimen, extents

_KINDS = {
    "file": REGULAR, "directory": DIRECTORY, "symlink": SYMLINK, "hardlink": HARDLINK, "char": CHAR,
    "block": BLOCK_DEVICE, "fifo": FIFO,
}  # fmt: skip
Sparse = Callable[[Item, Entry], Entry]


def shuffled(specimen: Specimen, seed: int) -> Specimen:
    """The items in an order that means the same: directories before or after what is in them, or between."""
    rng = random.Random(seed)
    order = sorted(specimen, key=lambda item: (item.kind == "hardlink", rng.random()))
    return tuple(order)


def _entry(item: Item, form: Form, links: Mapping[bytes, Item]) -> Entry:
    # A hard link's own metadata become those of the file, so it has to have the same.
    own = links.get(item.target, item) if item.kind == "hardlink" else item
    records: dict[bytes, bytes] = {}
    if form == "pax" and own.mtime_ns:
        records[b"mtime"] = b"%d.%09d" % (own.mtime_s, own.mtime_ns)
    return Entry(
        item.path, _KINDS[item.kind], item.content, mode=own.mode, uid=own.uid, gid=own.gid,
        mtime=own.mtime_s, link=item.target, device=item.device, records=records, form=form,
        xattrs=own.xattrs if form == "pax" else {},
    )  # fmt: skip


def _ours(form: Form, sparse: Sparse | None = None) -> Callable[[Specimen], bytes]:
    def write(specimen: Specimen) -> bytes:
        by_path = {item.path: item for item in specimen}
        entries = []
        for item in specimen:
            entry = _entry(item, form, by_path)
            is_sparse = sparse is not None and item.kind == "file" and len(item.content) > 4096
            entries.append(sparse(item, entry) if sparse and is_sparse else entry)
        return encode_tar(entries)

    return write


def _data(content: bytes) -> bytes:
    return b"".join(content[start : start + length] for start, length in extents(content))


def _changed(entry: Entry, **fields: object) -> Entry:
    return Entry(**(vars(entry) | fields))


def _old_gnu(item: Item, entry: Entry) -> Entry:
    pieces = (len(item.content), extents(item.content))
    return _changed(entry, kind=GNU_SPARSE, content=_data(item.content), old_sparse=pieces)


def _pax_0_0(item: Item, entry: Entry) -> Entry:
    """Keys that come again and again (GNU tar manual, "PAX Format, Version 0.0")."""
    pieces = extents(item.content)
    raw = b"".join(
        pax_records({b"GNU.sparse.offset": b"%d" % start, b"GNU.sparse.numbytes": b"%d" % length})
        for start, length in pieces
    )
    records = {b"GNU.sparse.size": b"%d" % len(item.content), b"GNU.sparse.numblocks": b"%d" % len(pieces)}
    return _changed(
        entry, content=_data(item.content), records=dict(entry.records) | records, raw_records=raw
    )


def _pax_0_1(item: Item, entry: Entry) -> Entry:
    pieces = extents(item.content)
    records = {
        b"GNU.sparse.name": item.path,
        b"GNU.sparse.size": b"%d" % len(item.content),
        b"GNU.sparse.numblocks": b"%d" % len(pieces),
        b"GNU.sparse.map": b",".join(b"%d,%d" % piece for piece in pieces),
    }
    return _changed(
        entry, name=b"GNUSparseFile.0/x", content=_data(item.content), records=dict(entry.records) | records
    )


def _pax_1_0(item: Item, entry: Entry) -> Entry:
    pieces = extents(item.content)
    text = b"%d\n" % len(pieces) + b"".join(b"%d\n%d\n" % piece for piece in pieces)
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": item.path,
        b"GNU.sparse.realsize": b"%d" % len(item.content),
    }
    stored = text + bytes(-len(text) % 512) + _data(item.content)
    return _changed(entry, name=b"GNUSparseFile.0/x", content=stored, records=dict(entry.records) | records)


def _pythons(form: int) -> Callable[[Specimen], bytes]:
    """As Python's own tarfile writes it."""

    def write(specimen: Specimen) -> bytes:
        by_path = {item.path: item for item in specimen}
        out = io.BytesIO()
        with tarfile.open(
            fileobj=out, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
        ) as archive:
            for item in specimen:
                own = by_path[item.target] if item.kind == "hardlink" else item
                member = tarfile.TarInfo(os.fsdecode(item.path))
                member.type = _KINDS[item.kind]
                member.mode, member.uid, member.gid, member.mtime = own.mode, own.uid, own.gid, own.mtime_s
                member.linkname = os.fsdecode(item.target)
                member.devmajor, member.devminor = item.device
                member.size = len(item.content)
                if form == tarfile.PAX_FORMAT:
                    _add_records(member, own)
                archive.addfile(member, io.BytesIO(item.content))
        return out.getvalue()

    return write


def _add_records(member: tarfile.TarInfo, item: Item) -> None:
    records = {f"SCHILY.xattr.{name.decode()}": os.fsdecode(value) for name, value in item.xattrs.items()}
    if item.mtime_ns:
        records["mtime"] = f"{item.mtime_s}.{item.mtime_ns:09d}"
    member.pax_headers = records


# Those that can say all of a specimen, and those that can say what `specimens.limited` leaves of it.
RICH: Mapping[str, Callable[[Specimen], bytes]] = {
    "pax": _ours("pax"),
    "pax with sparse files 0.0": _ours("pax", _pax_0_0),
    "pax with sparse files 0.1": _ours("pax", _pax_0_1),
    "pax with sparse files 1.0": _ours("pax", _pax_1_0),
    "pax by Python": _pythons(tarfile.PAX_FORMAT),
}
POOR: Mapping[str, Callable[[Specimen], bytes]] = {
    "gnu": _ours("gnu"),
    "gnu with sparse files": _ours("gnu", _old_gnu),
    "gnu by Python": _pythons(tarfile.GNU_FORMAT),
    "ustar": _ours("ustar"),
    "ustar by Python": _pythons(tarfile.USTAR_FORMAT),
}


ALL: Mapping[str, Callable[[Specimen], bytes]] = {**RICH, **POOR}


def fits_ustar(specimen: Specimen) -> bool:
    """Whether the format of 1988 has room for the names and link targets."""
    return all(
        len(item.target) <= 100
        and (len(item.path) <= 100 or (b"/" in item.path[-101:-1] and len(item.path[:-101]) < 150))
        for item in specimen
    )
