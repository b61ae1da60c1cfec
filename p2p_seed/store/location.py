"""Opens the store that a setting names: `filesystem:PATH` or `s3://BUCKET[/PREFIX]`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from p2p_seed.errors import StoreConfigurationError
from p2p_seed.store.directory import DirectoryStore
from p2p_seed.store.protocol import BlobStore
from p2p_seed.store.s3_access import S3Access


def open_store(location: str, s3: S3Access | None = None, create: bool = False) -> BlobStore:
    """The store at a location. Used for our own store and, to be read only, for a registry's storage.

    Args:
        location: `filesystem:` and an absolute path, or `s3://`, a bucket and, if the keys have one, a
            prefix. Of a registry's storage: its `rootdirectory`, or its bucket and `rootdirectory`.
        s3: how to reach S3; AWS with boto3's own credentials if it is not given.
        create: make a missing directory. Not for a registry's storage: a volume that is not mounted must not
            look like an empty one.

    Raises:
        StoreConfigurationError: the location is neither, or cannot be used.
    """
    place = parse_location(location)
    if isinstance(place, Path):
        if create:
            _create(place)
        return DirectoryStore(place)
    # Importing boto3 takes 0.2 s, and many installations never need it.
    from p2p_seed.store.s3 import S3Store

    return S3Store(place.name, place.prefix, s3 or S3Access())


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, and what stands before all keys in it; empty or without a slash at its ends."""

    name: str
    prefix: str


def parse_location(location: str) -> Path | Bucket:
    """Reads the location of a store.

    Raises:
        StoreConfigurationError: it is neither `filesystem:` with an absolute path nor `s3://` with a bucket.
    """
    if location.startswith("filesystem:"):
        root = Path(location.removeprefix("filesystem:"))
        if not root.is_absolute():
            raise StoreConfigurationError(
                f"{location!r} needs an absolute path, as in filesystem:/var/lib/store"
            )
        return root
    if location.startswith("s3://"):
        name, _, prefix = location.removeprefix("s3://").partition("/")
        if not name:
            raise StoreConfigurationError(f"{location!r} names no bucket, as in s3://bucket/prefix")
        return Bucket(name, prefix.strip("/"))
    raise StoreConfigurationError(f"{location!r} is neither filesystem:PATH nor s3://BUCKET/PREFIX")


def _create(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreConfigurationError(f"cannot create the store's directory {root}: {error}") from error
