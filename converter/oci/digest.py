"""Content digests: `sha256:` and 64 lower-case hexadecimal digits.

Only SHA-256 is accepted. It is the algorithm every registry must support (OCI image spec 1.1, descriptor.md,
"Registered algorithms"), and Distribution stores content under nothing else.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from converter.oci.errors import InvalidDigestError

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_PREFIX: Final = "sha256:"


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 content digest.

    Args:
        hex: 64 lower-case hexadecimal digits, without the algorithm.

    Raises:
        InvalidDigestError: `hex` is anything else.
    """

    hex: str

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.hex):
            raise InvalidDigestError(f"not 64 lower-case hexadecimal digits: {self.hex[:80]!r}")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Reads `sha256:<hex>`.

        Raises:
            InvalidDigestError: another algorithm, or not 64 lower-case hexadecimal digits.
        """
        if not text.startswith(_PREFIX):
            raise InvalidDigestError(f"not a sha256 digest: {text[:80]!r}")
        return cls(text.removeprefix(_PREFIX))

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The digest of `content`."""
        return cls(hashlib.sha256(content).hexdigest())

    def __str__(self) -> str:
        return _PREFIX + self.hex
