"""The fallback index: what is attached to a manifest, on registries without the referrers API.

The index is a document that everybody may add to, and the registry knows no conditional update, so the caller
holds a lock, reads, merges here, writes, and reads back. The rules of the merge:

* An entry of ours replaces the one it succeeds: the bundle with the same predicate type and key, the chunk
  list of the same blob and key. So repeated signing does not make the index grow.
* Everything else stays where it is, byte for byte, and so do fields of the index that are not known here.
* A converted image goes first: nydus-snapshotter looks at no other entry.
* An entry whose manifest the registry no longer has is left out, where the caller says so: Distribution 2.8
  and 3.1 refuse an index with one such entry (400), so a deleted manifest would end all signing for good.
* Something that is not an index of referrers is never overwritten. It is not ours, and what it lists would be
  lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from converter.oci import Descriptor, encode_json, media_types
from converter.oci.manifest import MAX_MANIFEST_BYTES
from signer.attach import ANNOTATION_BLOB, ANNOTATION_KEY_HINT, ANNOTATION_PREDICATE_TYPE
from signer.errors import ReferrersError

MAX_REFERRERS: Final = 1024
_SPACE: Final = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A descriptor with the text it was read from."""

    text: str
    digest: str
    slot: tuple[str, ...]


def merge_referrers(
    existing: bytes | None,
    entries: Sequence[Descriptor],
    first: Descriptor | None = None,
    gone: Collection[str] = frozenset(),
) -> bytes:
    """Adds descriptors to a fallback index.

    Args:
        existing: the index under the fallback tag, or None where there is none.
        entries: descriptors of manifests whose subject is the index's, as `referrer_descriptor` makes them.
        first: the entry to put first; it is added like the others.
        gone: digests of entries to leave out. What is added stays in.

    Returns:
        The index to push. Merging its own result changes nothing.

    Raises:
        ReferrersError: `existing` is not an image index, or the result has more than 1,024 entries or 4 MiB.
    """
    members, merged = _read(existing) if existing is not None else ({}, [])
    ours = [_own(descriptor) for descriptor in ([first] if first else []) + list(entries)]
    lost = set(gone) - {entry.digest for entry in ours}
    merged = [entry for entry in merged if entry.digest not in lost]
    for entry in ours:
        known = [old for old in merged if old.digest == entry.digest or old.slot == entry.slot]
        if known:
            at = merged.index(known[0])
            merged = [old for old in merged if old is known[0] or old not in known]
            merged[at] = entry
        else:
            merged.append(entry)
    if first:
        merged.sort(
            key=lambda entry: entry.digest != str(first.digest)
        )  # stable: the others keep their order
    if len(merged) > MAX_REFERRERS:
        raise ReferrersError(
            f"{len(merged)} referrers are over the limit of {MAX_REFERRERS}; delete old ones"
        )
    members = {
        "schemaVersion": "2", "mediaType": json.dumps(media_types.OCI_INDEX), **members,
        "manifests": "[" + ",".join(entry.text for entry in merged) + "]",
    }  # fmt: skip
    raw = ("{" + ",".join(f"{json.dumps(key)}:{text}" for key, text in members.items()) + "}").encode()
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ReferrersError(
            f"a fallback index of {len(raw)} bytes is over the limit of {MAX_MANIFEST_BYTES}"
        )
    return raw


def _own(descriptor: Descriptor) -> _Entry:
    value = descriptor.to_json()
    return _entry(encode_json(value).decode(), value)


def _entry(text: str, value: object) -> _Entry:
    digest = value.get("digest") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(digest, str):
        raise ReferrersError(f"the fallback index has an entry without a digest: {text[:120]}")
    return _Entry(text, digest, _slot(value, digest))


def _slot(value: dict[str, Any], digest: str) -> tuple[str, ...]:
    """What there should be one of: entries with the same slot succeed each other."""
    annotations = value.get("annotations")
    if isinstance(annotations, dict) and ANNOTATION_KEY_HINT in annotations:
        kinds = {
            media_types.SIGSTORE_BUNDLE: ANNOTATION_PREDICATE_TYPE,
            media_types.CHUNK_LIST: ANNOTATION_BLOB,
        }
        artifact_type = str(value.get("artifactType"))
        subject = annotations.get(kinds.get(artifact_type, ""))
        if subject is not None:
            return artifact_type, str(subject), str(annotations[ANNOTATION_KEY_HINT])
    return (digest,)


def _read(raw: bytes) -> tuple[dict[str, str], list[_Entry]]:
    """The members of the index and its entries, each with its exact text."""
    try:
        text = raw.decode()
        members = _members(text)
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReferrersError(f"the fallback tag holds something that is not JSON: {error}") from error
    is_index = (
        isinstance(document, dict)
        and document.get("mediaType", media_types.OCI_INDEX) == media_types.OCI_INDEX
    )
    if not is_index or document.get("schemaVersion") != 2 or not isinstance(document.get("manifests"), list):
        raise ReferrersError(
            "the fallback tag holds something that is not an OCI image index; look at it, then delete the tag"
        )
    return members, [_entry(item, json.loads(item)) for item in _items(members["manifests"])]


def _members(text: str) -> dict[str, str]:
    """Key and exact value text of each member of the JSON object `text`."""
    decode = json.JSONDecoder().raw_decode
    members: dict[str, str] = {}
    at = _skip(text, 0, "{")
    while text[at : at + 1] != "}":
        key, at = decode(text, at)
        at = _skip(text, at, ":")
        _, end = decode(text, at)
        if not isinstance(key, str) or key in members:
            raise ValueError("a member's key is not a string, or occurs twice")
        members[key] = text[at:end]
        at = _next(text, end, "}")
    return members


def _items(text: str) -> list[str]:
    """The exact text of each item of the JSON array `text`."""
    decode = json.JSONDecoder().raw_decode
    items = []
    at = _skip(text, 0, "[")
    while text[at : at + 1] != "]":
        _, end = decode(text, at)
        items.append(text[at:end])
        at = _next(text, end, "]")
    return items


def _skip(text: str, at: int, token: str) -> int:
    """The position after white space, `token`, and white space."""
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # matches the empty string too
    if text[at : at + 1] != token:
        raise ValueError(f"expected {token!r} at character {at}")
    return _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]


def _next(text: str, at: int, closing: str) -> int:
    """The position of the next member or item, or of `closing`."""
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
    return at if text[at : at + 1] == closing else _skip(text, at, ",")
