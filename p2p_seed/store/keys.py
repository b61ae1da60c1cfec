"""Where a blob lies: Distribution's own layout (design decision 13).

`docker/registry/v2/blobs/sha256/<first 2 hex>/<64 hex>/data`, from `registry/storage/paths.go` of
Distribution 2.8 and 3.1. A registry and Dragonhook can so share one bucket or directory, and a registry's
storage can be read by the same classes as our own store.
"""

from __future__ import annotations

import re
from typing import Final

from converter.oci import Digest

BLOBS: Final = "docker/registry/v2/blobs/sha256/"

_KEY: Final = re.compile(rf"{re.escape(BLOBS)}([0-9a-f]{{2}})/([0-9a-f]{{64}})/data")


def blob_key(digest: Digest) -> str:
    """The blob's key below a store's root or prefix, with slashes and without a leading one."""
    return f"{BLOBS}{digest.hex[:2]}/{digest.hex}/data"


def chunk_list_key(blob: Digest) -> str:
    """The key of a blob's chunk list, below the same root or prefix; Distribution has nothing there."""
    return f"dragonhook/chunk-lists/sha256/{blob.hex[:2]}/{blob.hex}"


def parse_blob_key(key: str) -> Digest | None:
    """The digest whose `blob_key` is `key`, or None if it is no blob's key."""
    match = _KEY.fullmatch(key)
    if match is None or not match[2].startswith(match[1]):
        return None
    return Digest(match[2])
