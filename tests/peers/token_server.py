"""A token server for real registries, as Distribution's token authentication specification describes it.

Tokens are JWTs signed with ES256, with the certificate of the key in the header (`x5c`): the one form
that both docker-registry 2.8 and Distribution 3.1 accept without further configuration. Source:
distribution `docs/content/spec/auth/jwt.md` (3.1).
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.peers.certificates import CertificateAuthority
from tests.peers.registries import BasicUser, TokenAuth
from tests.peers.server import LOOPBACK

TOKEN_LIFETIME_S = 300


class TokenServer:
    """Gives tokens to one user, with the rights that are asked for.

    Args:
        directory: gets the certificate.
        user: who gets tokens; everybody else gets 401.
        lifetime_s: how long a token is valid.

    `scopes` lists what was asked for, one entry a request.
    """

    def __init__(self, directory: Path, user: BasicUser, lifetime_s: int = TOKEN_LIFETIME_S) -> None:
        files = CertificateAuthority(directory).issue("token-signer")
        key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{files.key} is not an elliptic-curve key")
        self._key = key
        self._certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        self._authorization = "Basic " + base64.b64encode(f"{user.name}:{user.password}".encode()).decode()
        self._lifetime_s = lifetime_s
        self.scopes: list[tuple[str, ...]] = []
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.auth = TokenAuth(f"http://{LOOPBACK}:{self._server.server_port}/token", files.certificate)

    def token(self, service: str, scopes: tuple[str, ...]) -> str:
        """A token with exactly these scopes (`repository:NAME:pull,push`, …)."""
        now = int(time.time())
        access = [
            {"type": kind, "name": name, "actions": actions.split(",")}
            for kind, name, actions in (_split_scope(scope) for scope in scopes)
        ]
        claims = {
            "iss": self.auth.issuer, "sub": "pusher", "aud": service, "jti": secrets.token_hex(8),
            "access": access, "iat": now, "nbf": now - 10, "exp": now + self._lifetime_s,
        }  # fmt: skip
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        signed = f"{_encode(header)}.{_encode(claims)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                if self.headers["Authorization"] != outer._authorization:
                    self._answer(401, {"details": "unknown user"})
                    return
                asked = tuple(scope for value in query.get("scope", []) for scope in value.split())
                outer.scopes.append(asked)
                token = outer.token(query["service"][0], asked)
                self._answer(200, {"token": token, "expires_in": outer._lifetime_s})

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _split_scope(scope: str) -> tuple[str, str, str]:
    # The name may hold colons (a host with a port), the type and the actions may not.
    kind, rest = scope.split(":", 1)
    name, actions = rest.rsplit(":", 1)
    return kind, name, actions


def _encode(value: dict[str, Any]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
