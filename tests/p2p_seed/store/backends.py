"""The stores under test, with a way round them: what really lies there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from converter.oci import Digest
from p2p_seed.store import BlobStore, DirectoryStore, S3Access
from p2p_seed.store.keys import blob_key
from p2p_seed.store.s3 import S3Store
from p2p_seed.store.s3_client import make_client
from tests.peers.s3 import S3Server

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

SMALL_PART_BYTES = 5 * 1024 * 1024
"""The smallest part S3 allows, so that the tests need only a few MiB for an upload in parts."""


class Backend(Protocol):
    """A store and what a test may do behind its back."""

    @property
    def store(self) -> BlobStore: ...

    def everything(self) -> list[str]:
        """All that lies there, unfinished things too, as sorted names below the root or prefix."""
        ...

    def overwrite(self, digest: Digest, content: bytes) -> None:
        """Replaces (or makes) a blob, whatever its digest says."""
        ...


@dataclass
class DirectoryBackend:
    root: Path

    @property
    def store(self) -> DirectoryStore:
        return DirectoryStore(self.root)

    def everything(self) -> list[str]:
        return sorted(
            path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()
        )

    def overwrite(self, digest: Digest, content: bytes) -> None:
        path = self.root / blob_key(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@dataclass
class S3Backend:
    server: S3Server
    bucket: str
    prefix: str = "some/prefix"

    @cached_property
    def store(self) -> S3Store:
        return S3Store(self.bucket, self.prefix, access_to(self.server), SMALL_PART_BYTES)

    @cached_property
    def client(self) -> S3Client:
        return make_client(access_to(self.server))

    def everything(self) -> list[str]:
        objects = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", ())
        uploads = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ())
        names = [entry["Key"].removeprefix(f"{self.prefix}/") for entry in objects]
        return sorted(names + [f"unfinished {entry['Key']}" for entry in uploads])

    def overwrite(self, digest: Digest, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{blob_key(digest)}", Body=content)


def access_to(server: S3Server, endpoint_url: str | None = None) -> S3Access:
    return S3Access(
        endpoint_url=endpoint_url or server.url,
        region=server.region,
        access_key=server.access_key,
        secret_key=server.secret_key,
        connect_timeout_s=2,
        read_timeout_s=10,
        attempts=2,
    )


def new_bucket(server: S3Server) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    server.create_bucket(name)
    return name


def write_blob(directory: Path, content: bytes) -> tuple[Digest, Path]:
    digest = Digest.of(content)
    path = directory / f"source-{digest.hex[:16]}"
    path.write_bytes(content)
    return digest, path
