"""One multipart upload: parts in parallel, each with its SHA-256, completed only when all is right."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from converter.oci import Digest
from p2p_seed.errors import StoreConfigurationError, StoreError, StoreUnavailableError
from p2p_seed.store.hashing import verified_pieces
from p2p_seed.store.s3_client import error_code, status

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# Memory of one upload is this many parts, and one more that is being read.
_PARALLEL: Final = 4
_MAX_PARTS: Final = 10_000  # Amazon S3 user guide, "Multipart upload limits"


class UploadConflictError(StoreError):
    """Somebody else is writing the key: the upload has to be begun again. Stays inside the store."""


class MultipartUpload:
    """Uploads one file in parts.

    Args:
        client: of the server.
        bucket: must exist.
        key: where the object shall be.
        part_bytes: size of each part but the last; larger if the file would need more parts than S3 allows.
    """

    def __init__(self, client: S3Client, bucket: str, key: str, part_bytes: int) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._part_bytes = part_bytes

    def run(self, digest: Digest, source: Path, size_bytes: int) -> bool:
        """Uploads the file, unless the object appears meanwhile. After any error the upload is aborted.

        Returns:
            True if this call made the object, False if somebody else did.

        Raises:
            UploadConflictError: begin again.
            StoreConfigurationError: the server does not compare checksums.
            DigestMismatchError, SourceUnreadableError, ClientError, BotoCoreError: as they come.
        """
        begun = self._client.create_multipart_upload(
            Bucket=self._bucket, Key=self._key, ChecksumAlgorithm="SHA256"
        )
        upload_id = begun["UploadId"]
        try:
            parts = self._send_parts(upload_id, digest, source, size_bytes)
            return self._complete(upload_id, parts, size_bytes)
        except BaseException:
            # What made us stop is worth more to the caller than a failing abort; an upload that stays behind
            # is removed by `remove_leftovers`.
            with contextlib.suppress(ClientError, BotoCoreError):
                self.abort(self._client, self._bucket, self._key, upload_id)
            raise

    @staticmethod
    def abort(client: S3Client, bucket: str, key: str, upload_id: str) -> None:
        """Throws an upload's parts away; one that is gone already is no error."""
        try:
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if error_code(error) != "NoSuchUpload":
                raise

    def _send_parts(
        self, upload_id: str, digest: Digest, source: Path, size_bytes: int
    ) -> list[CompletedPartTypeDef]:
        part_bytes = max(self._part_bytes, -(-size_bytes // _MAX_PARTS))
        parts: list[CompletedPartTypeDef] = []
        running: deque[Future[CompletedPartTypeDef]] = deque()
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="s3-part") as pool:
            for number, content in enumerate(verified_pieces(source, digest, part_bytes), start=1):
                if len(running) == _PARALLEL:
                    parts.append(running.popleft().result())
                running.append(pool.submit(self._send_part, upload_id, number, content))
            parts.extend(future.result() for future in running)
        return parts

    def _send_part(self, upload_id: str, number: int, content: bytes) -> CompletedPartTypeDef:
        checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
        answer = self._client.upload_part(
            Bucket=self._bucket, Key=self._key, UploadId=upload_id, PartNumber=number,
            Body=content, ChecksumSHA256=checksum,
        )  # fmt: skip
        if answer.get("ChecksumSHA256") != checksum:
            raise StoreConfigurationError(
                f"the server of s3://{self._bucket} does not compare SHA-256 checksums: use another one"
            )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def _complete(self, upload_id: str, parts: list[CompletedPartTypeDef], size_bytes: int) -> bool:
        try:
            self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=upload_id,
                MultipartUpload={"Parts": parts}, MpuObjectSize=size_bytes, IfNoneMatch="*",
            )  # fmt: skip
        except ClientError as error:
            if status(error) == 412:
                self.abort(self._client, self._bucket, self._key, upload_id)
                return False
            # NoSuchUpload answers a repeated request whose first answer was lost on the way.
            if status(error) == 409 or error_code(error) == "NoSuchUpload":
                raise UploadConflictError from error
            raise
        stored = self._client.head_object(Bucket=self._bucket, Key=self._key)["ContentLength"]
        if stored != size_bytes:
            self._client.delete_object(Bucket=self._bucket, Key=self._key)
            raise StoreUnavailableError(
                f"s3://{self._bucket}/{self._key} has {stored} bytes, not {size_bytes}"
            )
        return True
