"""Typed reading of the JSON objects in a predicate, with the field's full name in each refusal."""

from __future__ import annotations

import re
from typing import Any, Final

from converter.chunk_manifest.errors import InvalidChunkManifestError
from converter.oci import Digest, OciError, Platform

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_MAX_INTEGER: Final = 2**53 - 1  # the largest that every JSON reader keeps exact (RFC 8785 section 3.2.2.3)


def digest_set(digest: Digest) -> dict[str, str]:
    """A digest as in-toto writes it."""
    return {"sha256": digest.hex}


class Fields:
    """The fields of one JSON object.

    Args:
        value: what the JSON parser returned.
        name: what to call the object in an error.

    Raises:
        InvalidChunkManifestError: `value` is not an object. Each method raises it for a field that is missing
            or of another type.
    """

    def __init__(self, value: object, name: str) -> None:
        if not isinstance(value, dict):
            raise InvalidChunkManifestError(f"{name} is not a JSON object")
        self._value: dict[str, Any] = value
        self.name = name

    def _refuse(self, key: str, wanted: str) -> InvalidChunkManifestError:
        found = repr(self._value[key])[:80] if key in self._value else "missing"
        return InvalidChunkManifestError(f"{self.name}.{key} should be {wanted}, but is {found}")

    def schema(self, known: int) -> Fields:
        """Checks `schema` and returns the same object."""
        if self.integer("schema") != known:
            raise self._refuse("schema", str(known))
        return self

    def text(self, key: str) -> str:
        """A string that is not empty."""
        value = self._value.get(key)
        if not isinstance(value, str) or not value:
            raise self._refuse(key, "a string")
        return value

    def optional_text(self, key: str) -> str | None:
        """A string that is not empty, or None where the field is absent."""
        return self.text(key) if key in self._value else None

    def integer(self, key: str) -> int:
        """An integer of 0…2**53 - 1."""
        value = self._value.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_INTEGER:
            raise self._refuse(key, "an integer of 0…2**53-1")
        return value

    def hash(self, key: str) -> bytes:
        """A SHA-256 hash in lower-case hexadecimal, as 32 bytes."""
        value = self._value.get(key)
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            raise self._refuse(key, "64 lower-case hexadecimal digits")
        return bytes.fromhex(value)

    def digest(self, key: str) -> Digest:
        """A digest set with a SHA-256 entry."""
        return Digest(self.child(key).hash("sha256").hex())

    def optional_digest(self, key: str) -> Digest | None:
        """A digest set, or None where the field is absent."""
        return self.digest(key) if key in self._value else None

    def platform(self, key: str) -> Platform | None:
        """A platform object, or None where the field is absent."""
        if key not in self._value:
            return None
        try:
            return Platform.from_json(self._value[key])
        except (OciError, TypeError) as error:
            raise self._refuse(key, "a platform") from error

    def child(self, key: str) -> Fields:
        """An object."""
        value = self._value.get(key)
        if not isinstance(value, dict):
            raise self._refuse(key, "an object")
        return Fields(value, f"{self.name}.{key}")

    def children(self, key: str, limit: int) -> list[Fields]:
        """A list of objects, at most `limit`."""
        value = self._value.get(key)
        if not isinstance(value, list) or len(value) > limit:
            raise self._refuse(key, f"a list of at most {limit} objects")
        return [Fields(item, f"{self.name}.{key}[{number}]") for number, item in enumerate(value)]

    def optional_children(self, key: str, limit: int) -> list[Fields]:
        """A list of objects, at most `limit`; empty where the field is absent."""
        return self.children(key, limit) if key in self._value else []
