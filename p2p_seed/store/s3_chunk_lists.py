"""Chunk lists in an S3 bucket, beside the blobs (see `chunk_lists`)."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from converter.oci import Digest
from p2p_seed.errors import CorruptBlobError, StoreConfigurationError
from p2p_seed.store.chunk_lists import MAX_LIST_BYTES, refuse_too_long
from p2p_seed.store.keys import chunk_list_key
from p2p_seed.store.s3_access import S3Access
from p2p_seed.store.s3_client import error_code, make_client, translated

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


class S3ChunkLists:
    """Chunk lists below the prefix of an S3 store.

    Args:
        bucket: must exist.
        prefix: as of the store.
        access: how to reach the server.

    Raises:
        StoreConfigurationError: the settings cannot be used.
    """

    def __init__(self, bucket: str, prefix: str, access: S3Access) -> None:
        self._client: S3Client = make_client(access)
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def put(self, blob: Digest, content: bytes) -> None:
        """See `ChunkLists.put`. S3 shows an object whole or not at all."""
        refuse_too_long(blob, len(content))
        checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
        with translated(f"store the chunk list of {blob} in {self._name}"):
            answer = self._client.put_object(
                Bucket=self._bucket, Key=self._key(blob), Body=content, ChecksumSHA256=checksum
            )
        if answer.get("ChecksumSHA256") != checksum:
            raise StoreConfigurationError(
                f"{self._name} does not compare SHA-256 checksums: use another server"
            )

    def get(self, blob: Digest) -> bytes | None:
        """See `ChunkLists.get`."""
        with translated(f"read the chunk list of {blob} from {self._name}"):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key(blob))
            except ClientError as error:
                if error_code(error) != "NoSuchKey":
                    raise
                return None
            body = answer["Body"]
            try:
                if answer["ContentLength"] > MAX_LIST_BYTES:
                    raise CorruptBlobError(
                        f"{self._name}{chunk_list_key(blob)} is no chunk list: "
                        f"it has {answer['ContentLength']} bytes; remove it"
                    )
                return body.read()
            finally:
                body.close()

    @property
    def _name(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def _key(self, blob: Digest) -> str:
        return self._prefix + chunk_list_key(blob)
