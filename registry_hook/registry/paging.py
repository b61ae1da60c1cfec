"""Lists that come in pages: catalog, tags, referrers (distribution spec 1.1, "Listing Tags").

Measured on Distribution: the next page's address is relative and absent on the last page; 2.8.2 ignores `n`
for tags and gives all of them unsorted at once; `tags` is null when the last tag was deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx

from registry_hook.registry.auth import Scopes
from registry_hook.registry.errors import ProtocolError
from registry_hook.registry.responses import shown
from registry_hook.registry.session import Answer, Call, Session

_MAX_PAGE_BYTES: Final = 32 * 1024 * 1024
_MAX_PAGES: Final = 100_000


def pages(
    session: Session, path: str, scopes: Scopes, headers: dict[str, str] | None = None
) -> Iterator[Answer]:
    """Fetches page after page.

    Raises:
        NotFoundError: there is no such list.
        ProtocolError: the pages do not come to an end, or lead to another host.
    """
    url: str | httpx.URL = path
    seen: set[str] = set()
    while True:
        answer = session.fetch(Call("GET", url, scopes, headers or {}), _MAX_PAGE_BYTES)
        yield answer
        link = httpx.Response(answer.status, headers=answer.headers).links.get("next", {}).get("url")
        if link is None:
            return
        seen.add(str(answer.url))
        url = session.next_url(answer, link)
        if str(url) in seen or len(seen) >= _MAX_PAGES:
            raise ProtocolError(f"{shown(answer.url)}: the pages of this list do not end")


def items(answer: Answer, key: str) -> list[Any]:
    """The list under `key` of a page; empty if it is null or missing.

    Raises:
        ProtocolError: the page is not such an object.
    """
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{shown(answer.url)}: the answer is not JSON: {error}") from error
    found = document.get(key) if isinstance(document, dict) else ...
    if found is None:
        return []
    if not isinstance(found, list):
        raise ProtocolError(f"{shown(answer.url)}: the answer has no list {key!r}")
    return found


def names(answer: Answer, key: str) -> list[str]:
    """The list of strings under `key` of a page; otherwise as `items`."""
    found = items(answer, key)
    if not all(isinstance(name, str) for name in found):
        raise ProtocolError(f"{shown(answer.url)}: {key!r} holds something else than names")
    return found
