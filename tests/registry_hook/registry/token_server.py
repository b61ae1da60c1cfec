"""A small token server for a real registry: checks passwords, and signs JWTs that the registry trusts.

Source: Distribution 3.1.2 documents, "Token Authentication Implementation".
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

ISSUER = "issuer.test"
SERVICE = "registry.test"


class TokenServer:
    """Gives anybody tokens to pull, and those who know the password tokens for everything.

    Args:
        directory: gets the certificate.
        user: name and password.
        lifetime_s: how long a token is valid.
    """

    def __init__(self, directory: Path, user: tuple[str, str], lifetime_s: int = 300) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._user = user
        self._lifetime_s = lifetime_s
        self._der = _certificate(self._key)
        self.certificate = directory / "token.pem"
        self.certificate.write_bytes(self._der.public_bytes(Encoding.PEM))
        self.asked: list[dict[str, list[str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self.realm = f"http://127.0.0.1:{self._server.server_port}/token"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, query: str, authorization: str | None) -> tuple[int, dict[str, Any]]:
        """The status and body for a request."""
        asked = parse_qs(query)
        self.asked.append(asked)
        if authorization is not None:
            given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            if given != ":".join(self._user):
                return 401, {}
        access = []
        for scope in asked.get("scope", []):
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            granted = [a for a in actions.split(",") if authorization or a == "pull"]
            access.append({"type": kind, "name": name, "actions": granted})
        return 200, {"token": self._token(access), "expires_in": self._lifetime_s}

    def _token(self, access: list[dict[str, Any]]) -> str:
        now = int(time.time())
        der = base64.b64encode(self._der.public_bytes(Encoding.DER)).decode()
        header = {"typ": "JWT", "alg": "ES256", "x5c": [der]}
        claims = {
            "iss": ISSUER, "sub": "user", "aud": SERVICE, "jti": str(now), "access": access,
            "nbf": now - 10, "iat": now - 10, "exp": now + self._lifetime_s,
        }  # fmt: skip
        signed = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, tokens: TokenServer, *arguments: Any) -> None:
        self._tokens = tokens
        super().__init__(*arguments)

    def do_GET(self) -> None:
        status, document = self._tokens.answer(urlsplit(self.path).query, self.headers.get("Authorization"))
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "token server")])
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, SHA256())
    )


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
