"""The parts of a signed request, read so that they can be read in one way only. Pure.

A signature covers the decoded parameters, so two spellings of one value would be no danger by themselves. But
nothing that signs redirects writes any but the canonical one, and what is read strictly cannot be read
differently elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from registry_hook.gateway.redirect_checks import RedirectRefusedError

MALFORMED: Final = "the signed query is malformed"

_MAX_QUERY: Final = 8192
_MAX_PARAMETERS: Final = 32
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]*")
# RFC 3986 section 3.2.2; internationalised names are in their ASCII form on the wire.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class SignedTarget:
    """What a signature covers.

    Args:
        path: as it came, percent escapes and all.
        parameters: of the query, decoded.
        pairs: the same as they came, in canonical spelling.
        host: the `Host` header, with its port if it has one.
    """

    path: str
    parameters: dict[str, str]
    pairs: list[tuple[str, str]]
    host: str


def parse_signed_target(target: str, host: str) -> SignedTarget:
    """Reads path, query and host of a request that should be signed.

    Raises:
        RedirectRefusedError: a parameter comes twice, has no value, or is not written canonically (RFC 3986
            section 2.3: everything but unreserved characters escaped, with upper-case digits); there are too
            many of them; the host is none.
    """
    path, _, query = target.partition("?")
    if _HOST.fullmatch(host) is None:
        raise RedirectRefusedError("the Host header is malformed")
    if len(query) > _MAX_QUERY or query.count("&") >= _MAX_PARAMETERS:
        raise RedirectRefusedError(MALFORMED)
    parameters: dict[str, str] = {}
    pairs: list[tuple[str, str]] = []
    for item in query.split("&"):
        name, equals, value = item.partition("=")
        if not equals or (plain := _decoded(name)) in parameters:
            raise RedirectRefusedError(MALFORMED)
        parameters[plain] = _decoded(value)
        pairs.append((name, value))
    return SignedTarget(path, parameters, pairs, host)


def _decoded(text: str) -> str:
    if _UNRESERVED.fullmatch(text):
        return text
    if not text.isascii():
        raise RedirectRefusedError(MALFORMED)
    plain = unquote_to_bytes(text)
    if quote_from_bytes(plain, safe="-_.~") != text:
        raise RedirectRefusedError(MALFORMED)
    try:
        return plain.decode()
    except UnicodeDecodeError as error:
        raise RedirectRefusedError(MALFORMED) from error
