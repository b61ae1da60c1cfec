"""Blobs in an S3 bucket, and the reader of a registry's `s3` storage.

Put-if-absent is `If-None-Match: *`, on PutObject and on CompleteMultipartUpload. The server is given SHA-256
checksums and has to answer with them, which shows that it knows how to compare: of a small blob the digest
itself, of a large one that of every part. See docs/adr/0030-store-durability.md.
"""

from __future__ import annotations

import base64
from collections.abc import Generator, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from converter.oci import Digest
from p2p_seed.errors import BlobNotFoundError, BlobRangeError, StoreConfigurationError, StoreUnavailableError
from p2p_seed.store.hashing import refuse_other_size, source_size, verified_pieces
from p2p_seed.store.keys import BLOBS, blob_key, parse_blob_key
from p2p_seed.store.protocol import PIECE_BYTES
from p2p_seed.store.s3_access import S3Access
from p2p_seed.store.s3_client import error_code, make_client, status, translated
from p2p_seed.store.s3_upload import MultipartUpload, UploadConflictError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PART_BYTES: Final = 16 * 1024 * 1024
_PUT_ATTEMPTS: Final = 3


class S3Store:
    """Blobs in a bucket, in Distribution's layout below a prefix.

    Args:
        bucket: must exist.
        prefix: what stands before `docker/registry/v2/…` (Distribution's `rootdirectory`); outer slashes do
            not count.
        access: how to reach the server.
        part_bytes: larger blobs are uploaded in parts of this size; S3 wants at least 5 MiB.

    Raises:
        StoreConfigurationError: the settings cannot be used.
    """

    def __init__(self, bucket: str, prefix: str, access: S3Access, part_bytes: int = PART_BYTES) -> None:
        self._client: S3Client = make_client(access)
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._part_bytes = part_bytes
        self._bucket_seen = False

    def size(self, digest: Digest) -> int | None:
        """See `BlobReader.size`."""
        with translated(f"look for {digest} in {self._name}"):
            try:
                answer = self._client.head_object(Bucket=self._bucket, Key=self._key(digest))
            except ClientError as error:
                if status(error) != 404:
                    raise
                self._require_bucket()
                return None
            return answer["ContentLength"]

    def read(self, digest: Digest, start: int = 0, length: int | None = None) -> Generator[bytes, None, None]:
        """See `BlobReader.read`."""
        with translated(f"read {digest} from {self._name}"):
            if start < 0 or (length is not None and length <= 0):
                self._check_empty_range(digest, start, length or 0)
                return
            key = self._key(digest)
            try:
                if start == 0 and length is None:
                    answer = self._client.get_object(Bucket=self._bucket, Key=key)
                else:
                    last = "" if length is None else start + length - 1
                    answer = self._client.get_object(
                        Bucket=self._bucket, Key=key, Range=f"bytes={start}-{last}"
                    )
            except ClientError as error:
                if error_code(error) == "NoSuchKey":
                    raise BlobNotFoundError(f"{digest} is not stored in {self._name}") from error
                if status(error) != 416:
                    raise
                self._check_empty_range(digest, start, length or 0)
                return
            body = answer["Body"]
            try:
                # S3 shortens a range that leaves the object instead of refusing it.
                if length is not None and answer["ContentLength"] != length:
                    raise BlobRangeError(f"[{start}, {start + length}) is not inside {digest}")
                yield from body.iter_chunks(PIECE_BYTES)
            finally:
                body.close()

    def digests(self) -> Iterator[Digest]:
        """See `BlobReader.digests`."""
        with translated(f"list {self._name}"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + BLOBS):
                for entry in page.get("Contents", ()):
                    digest = parse_blob_key(entry["Key"].removeprefix(self._prefix))
                    if digest is not None:
                        yield digest

    def put(self, digest: Digest, source: Path) -> bool:
        """See `BlobStore.put`."""
        size_bytes = source_size(source, digest)
        stored_bytes = self.size(digest)
        if stored_bytes is not None:
            if stored_bytes != size_bytes:
                refuse_other_size(digest, source, stored_bytes, PIECE_BYTES)
            return False
        with translated(f"store {digest} in {self._name}"):
            for _ in range(_PUT_ATTEMPTS):
                try:
                    if size_bytes <= self._part_bytes:
                        return self._put_whole(digest, source)
                    upload = MultipartUpload(self._client, self._bucket, self._key(digest), self._part_bytes)
                    return upload.run(digest, source, size_bytes)
                except UploadConflictError:
                    # Somebody else is writing the same blob at this moment; either they succeed or we do.
                    if self.size(digest) == size_bytes:
                        return False
        raise StoreUnavailableError(f"cannot store {digest} in {self._name}: others keep writing it")

    def delete(self, digest: Digest) -> None:
        """See `BlobStore.delete`."""
        with translated(f"delete {digest} from {self._name}"):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(digest))

    def remove_leftovers(self, before: datetime) -> int:
        """See `BlobStore.remove_leftovers`: aborts uploads in parts that were begun before a time."""
        removed = 0
        with translated(f"clean unfinished uploads of {self._name}"):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + BLOBS):
                for upload in page.get("Uploads", ()):
                    if upload["Initiated"] < before:
                        MultipartUpload.abort(self._client, self._bucket, upload["Key"], upload["UploadId"])
                        removed += 1
        return removed

    @property
    def _name(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def _key(self, digest: Digest) -> str:
        return self._prefix + blob_key(digest)

    def _require_bucket(self) -> None:
        # HEAD answers 404 without a body for a missing bucket too, which must not look like an empty store.
        if not self._bucket_seen:
            try:
                self._client.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                if status(error) != 404:
                    raise
                raise StoreConfigurationError(f"there is no bucket {self._bucket!r}: create it") from error
            self._bucket_seen = True

    def _check_empty_range(self, digest: Digest, start: int, length: int) -> None:
        """S3 has no way to ask for no bytes, so an empty range is checked against the size."""
        size_bytes = self.size(digest)
        if size_bytes is None:
            raise BlobNotFoundError(f"{digest} is not stored in {self._name}")
        if length != 0 or not 0 <= start <= size_bytes:
            raise BlobRangeError(f"[{start}, {start + length}) is not inside {digest}: {size_bytes} bytes")

    def _put_whole(self, digest: Digest, source: Path) -> bool:
        content = b"".join(verified_pieces(source, digest, PIECE_BYTES))
        checksum = base64.b64encode(bytes.fromhex(digest.hex)).decode()
        try:
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=self._key(digest),
                Body=content,
                ChecksumSHA256=checksum,
                IfNoneMatch="*",
            )
        except ClientError as error:
            if status(error) == 412:
                return False
            if status(error) == 409:
                raise UploadConflictError from error
            raise
        if answer.get("ChecksumSHA256") != checksum:
            self.delete(digest)
            raise StoreConfigurationError(
                f"{self._name} does not compare SHA-256 checksums: use another server"
            )
        return True
