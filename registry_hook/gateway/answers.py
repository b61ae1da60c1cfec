"""What to answer to a request for a blob, as values; nothing here reads or sends. Pure.

Rules: RFC 9110 (conditions: section 13, ranges: section 14), and what clients of a redirecting registry were
seen to need: every answer about a blob names its digest and is cacheable for ever, and no error has a body,
since nydusd takes what follows the header for data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from converter.oci import Digest
from p2p_seed.store.keys import BLOBS
from registry_hook.gateway.ranges import UnsatisfiableRangeError, parse_range

# What precedes Distribution's own path says nothing about the content: the path of the middleware's
# `baseurl`, a bucket, the storage driver's `rootdirectory`.
_PATH: Final = re.compile(rf"/(?:[^?#]*/)?{re.escape(BLOBS)}([0-9a-f]{{2}})/([0-9a-f]{{64}})/data")
_ENTITY_TAG: Final = re.compile(r'(?:W/)?"[^"]*"')

_ALWAYS: Final = {"Server": "dragonhook"}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers, and which bytes of the blob follow.

    Args:
        status: HTTP status.
        headers: all headers that depend on the request.
        start: first byte of the blob to send.
        length: number of bytes to send; 0 is no body.
    """

    status: int
    headers: Mapping[str, str]
    start: int = 0
    length: int = 0


def parse_path(path: str) -> Digest | None:
    """The blob that a redirect's path names, or None if it is not a blob's path.

    Args:
        path: without query; percent escapes, which a registry never writes there, make it no blob's path.
    """
    match = _PATH.fullmatch(path)
    if match is None or not match[2].startswith(match[1]):
        return None
    return Digest(match[2])


def error_answer(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """An error: no body, and not to be cached."""
    return Answer(status, {**_ALWAYS, "Content-Length": "0", "Cache-Control": "no-store", **(headers or {})})


def blob_answer(method: str, headers: Mapping[str, str], digest: Digest, size_bytes: int) -> Answer:
    """The answer to GET or HEAD of a blob that is there.

    Args:
        method: `GET` or `HEAD`.
        headers: of the request, looked up without regard to case.
        digest: names the blob.
        size_bytes: its length.
    """
    entity_tag = f'"{digest}"'
    common = {
        **_ALWAYS,
        "ETag": entity_tag,
        "Docker-Content-Digest": str(digest),
        "Cache-Control": "max-age=31536000, immutable",
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    if "If-Match" in headers and not _matches(headers["If-Match"], entity_tag, weakly=False):
        return error_answer(412)
    if "If-None-Match" in headers and _matches(headers["If-None-Match"], entity_tag, weakly=True):
        return Answer(304, common)
    whole = {**common, "Content-Length": str(size_bytes)}
    if method == "HEAD":
        return Answer(200, whole)  # Range is defined for GET only (section 14.2).
    # A date in If-Range cannot match, since a blob has no date.
    if "Range" in headers and headers.get("If-Range", entity_tag).strip() == entity_tag:
        try:
            part = parse_range(headers["Range"], size_bytes)
        except UnsatisfiableRangeError:
            return error_answer(416, {"Content-Range": f"bytes */{size_bytes}", "Accept-Ranges": "bytes"})
        if part is not None:
            start, end = part
            partial = {
                "Content-Range": f"bytes {start}-{end - 1}/{size_bytes}",
                "Content-Length": str(end - start),
            }
            return Answer(206, {**common, **partial}, start, end - start)
    return Answer(200, whole, 0, size_bytes)


def _matches(header: str, entity_tag: str, weakly: bool) -> bool:
    if header.strip() == "*":
        return True
    tags = _ENTITY_TAG.findall(header)
    return entity_tag in ([tag.removeprefix("W/") for tag in tags] if weakly else tags)
