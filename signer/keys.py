"""Keys: ECDSA on P-256 with SHA-256, nothing else.

It is the one kind that cosign verifies everywhere without an extra flag. Signatures are deterministic (RFC
6979), so signing the same bytes again gives the same signature and nothing new to push.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from signer.errors import InvalidSignatureError, KeyFileError

MAX_KEY_FILE_BYTES: Final = 64 * 1024
_PEM_BEGIN: Final = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)
_NEW_KEY_ADVICE: Final = (
    "make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY.pem"
)


class Signer(Protocol):
    """Whatever can sign: a key in memory, a token, a key service."""

    @property
    def public_key(self) -> VerificationKey:
        """The key that its signatures verify with."""

    def sign(self, data: bytes) -> bytes:
        """The DER signature (ECDSA P-256, SHA-256) over `data`."""


class VerificationKey:
    """A public key.

    Args:
        key: on the curve P-256.
        name: what to call it in an error.

    Raises:
        KeyFileError: another curve.
    """

    def __init__(self, key: ec.EllipticCurvePublicKey, name: str = "the public key") -> None:
        _check_curve(key.curve, name)
        self._key = key
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.hint = base64.b64encode(hashlib.sha256(der).digest()).decode()
        """Base64 of the SHA-256 of the key's DER form: the value that cosign writes into a bundle."""

    @classmethod
    def from_pem(cls, pem: bytes, name: str = "the public key") -> VerificationKey:
        """Reads a PEM file's bytes with one public key.

        Raises:
            KeyFileError: not one PEM block, not a public key, or not on P-256.
        """
        label = _only_label(pem, name)
        if "PRIVATE" in label:
            raise KeyFileError(f"{name} is a private key; take its public half: openssl pkey -in KEY -pubout")
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{name} is not a public key in PEM form: {error}") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise KeyFileError(f"{name} is not an ECDSA key; only ECDSA P-256 is supported")
        return cls(key, name)

    @classmethod
    def load(cls, path: Path) -> VerificationKey:
        """Reads a public key file.

        Raises:
            KeyFileError: unreadable, or not a public key on P-256.
        """
        return cls.from_pem(_read(path, private=False), str(path))

    @property
    def pem(self) -> bytes:
        """The key as PEM (SubjectPublicKeyInfo), as `cosign verify --key` reads it."""
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def verify(self, signature: bytes, data: bytes) -> None:
        """Checks a DER signature over `data`.

        Raises:
            InvalidSignatureError: it was not made by this key over these bytes.
        """
        try:
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise InvalidSignatureError(f"the signature is not by the key {self.hint}") from error


class SigningKey:
    """A private key held in memory.

    Args:
        key: on the curve P-256.
        name: what to call it in an error.

    Raises:
        KeyFileError: another curve.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey, name: str = "the signing key") -> None:
        _check_curve(key.curve, name)
        self._key = key
        self._public_key = VerificationKey(key.public_key(), name)

    @property
    def public_key(self) -> VerificationKey:
        """The public half."""
        return self._public_key

    def sign(self, data: bytes) -> bytes:
        """The DER signature over `data`; equal data, equal bytes."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    @classmethod
    def from_pem(cls, pem: bytes, password: bytes | None = None, name: str = "the signing key") -> SigningKey:
        """Reads a PEM file's bytes with one private key.

        Args:
            pem: PKCS#8, encrypted or not, or SEC 1 ("EC PRIVATE KEY").
            password: for an encrypted key.
            name: what to call the key in an error.

        Raises:
            KeyFileError: not one private key on P-256, or the password is missing, wrong or superfluous.
        """
        label = _only_label(pem, name)
        if "SIGSTORE" in label:
            raise KeyFileError(
                f"{name} is in cosign's own encrypted form, which is not supported; {_NEW_KEY_ADVICE}"
            )
        if "PRIVATE" not in label:
            raise KeyFileError(f"{name} is a {label.lower()}, not a private key")
        try:
            key = serialization.load_pem_private_key(pem, password or None)
        except TypeError as error:  # what the library raises when one of key and password is there alone
            wrong = (
                "needs a password, and none was given"
                if not password
                else "is not encrypted, but a password was given"
            )
            raise KeyFileError(f"{name} {wrong}") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyFileError(
                f"{name} cannot be read; a wrong password or a damaged file: {error}"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KeyFileError(
                f"{name} is not an ECDSA key; only ECDSA P-256 is supported; {_NEW_KEY_ADVICE}"
            )
        return cls(key, name)

    @classmethod
    def load(cls, path: Path, password: bytes | None = None) -> SigningKey:
        """Reads a private key file.

        Raises:
            KeyFileError: unreadable, readable by others than its owner, or not a private key on P-256.
        """
        return cls.from_pem(_read(path, private=True), password, str(path))

    @classmethod
    def load_or_generate(cls, path: Path, password: bytes | None = None) -> SigningKey:
        """Reads a private key file, after making it with a new key where there is none.

        The file appears complete, with mode 0600, or not at all: of several programs that start at once, one
        makes the key and all use it.

        Raises:
            KeyFileError: the file cannot be made, or what is there cannot be used.
        """
        try:
            if not path.exists():
                _create(path, _new_pem(password))
        except OSError as error:
            raise KeyFileError(f"cannot make the key file {path}: {error.strerror}") from error
        return cls.load(path, password)


def _new_pem(password: bytes | None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def _create(path: Path, content: bytes) -> None:
    """Makes `path` with `content` unless it is there by now; never shows a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike rename(2), fails where another program was faster
        except FileExistsError:
            return
    finally:
        temporary.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(path: Path, *, private: bool) -> bytes:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{path} is not a regular file")
            if private:
                _check_mode(path, status)
            content = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"cannot read the key file {path}: {error.strerror}") from error
    if len(content) > MAX_KEY_FILE_BYTES:
        raise KeyFileError(f"{path} is larger than {MAX_KEY_FILE_BYTES} bytes, so it is not a key")
    return content


def _open_at_once(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    return os.open(path, flags | os.O_NONBLOCK)


def _check_mode(path: Path, status: os.stat_result) -> None:
    # As PostgreSQL does for its TLS key: a file of root may be readable by its group, since an orchestrator
    # that mounts a secret for a program without privileges has no other way to let it in.
    forbidden = 0o037 if status.st_uid == 0 and os.geteuid() != 0 else 0o077
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden:
        raise KeyFileError(f"{path} has mode {mode:04o}, so others can use the key; run: chmod 600 {path}")


def _only_label(pem: bytes, name: str) -> str:
    labels = [label for label in _PEM_BEGIN.findall(pem) if label != b"EC PARAMETERS"]
    if not labels:
        raise KeyFileError(f"{name} is not in PEM form: it has no line like -----BEGIN PUBLIC KEY-----")
    if len(labels) != 1:
        # Tools read the first of two keys and pass over the second without a word.
        raise KeyFileError(f"{name} holds {len(labels)} PEM blocks; exactly one key is needed")
    return str(labels[0].decode())


def _check_curve(curve: ec.EllipticCurve, name: str) -> None:
    if not isinstance(curve, ec.SECP256R1):
        raise KeyFileError(f"{name} is on the curve {curve.name}; only P-256 is supported; {_NEW_KEY_ADVICE}")
