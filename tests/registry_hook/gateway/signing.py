"""Redirects as a registry signs them, by code that is not ours: botocore's."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

import botocore.auth
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from registry_hook.gateway.sigv4 import SigV4Key

SIGV4_KEY = SigV4Key("access-key", "secret/of+the=registry", "eu-test-1")
KEY_PAIR_ID = "KEYPAIR1"


def presigned(
    url: str, now_s: float, method: str = "GET", key: SigV4Key = SIGV4_KEY, lifetime_s: int = 1200
) -> str:
    """A URL with its signature."""
    request = AWSRequest(method, url)
    credentials = Credentials(key.access_key, key.secret_key)
    signer = S3SigV4QueryAuth(credentials, "s3", key.region, expires=lifetime_s)
    moment = datetime.fromtimestamp(now_s, UTC)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=moment):
        signer.add_auth(request)
    assert request.url is not None
    return request.url


def target_of(url: str) -> tuple[str, str]:
    """What a client that follows a redirect sends: path with query, and `Host`."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}", parts.netloc


class CloudFrontKeys:
    """A key pair in files, as the middleware and the gateway want them.

    Args:
        directory: gets `private.pem` (PKCS#1, which Distribution insists on) and `public.pem`.
        bits: of the key.
    """

    def __init__(self, directory: Path, bits: int = 2048) -> None:
        self.private_key_file = directory / "private.pem"
        self.public_key_file = directory / "public.pem"
        key = rsa.generate_private_key(65537, bits)
        pkcs1 = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        self.private_key_file.write_bytes(pkcs1)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public_key_file.write_bytes(public)

    def signed(self, url: str, expires_s: float, key_pair_id: str = KEY_PAIR_ID) -> str:
        """A URL with its signature."""
        key = load_pem_private_key(self.private_key_file.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        signer = CloudFrontSigner(key_pair_id, lambda policy: key.sign(policy, PKCS1v15(), SHA1()))
        moment = datetime.fromtimestamp(expires_s, UTC)
        text: str = signer.generate_presigned_url(url, date_less_than=moment)
        return text
