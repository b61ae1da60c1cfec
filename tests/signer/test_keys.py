import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from signer import InvalidSignatureError, KeyFileError, SigningKey, VerificationKey

P256 = ec.generate_private_key(ec.SECP256R1())
PKCS8 = P256.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
SEC1 = P256.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
PUBLIC = P256.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def encrypted(password: bytes) -> bytes:
    return P256.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )


def key_file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_signatures_verify_and_repeat() -> None:
    key = SigningKey.from_pem(PKCS8)
    signature = key.sign(b"data")
    assert signature == key.sign(b"data") == SigningKey.from_pem(SEC1).sign(b"data")
    key.public_key.verify(signature, b"data")
    VerificationKey.from_pem(PUBLIC).verify(signature, b"data")


def test_rfc_6979_vector() -> None:
    """RFC 6979 A.2.5: P-256, SHA-256, message "sample"."""
    number = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    signature = SigningKey(ec.derive_private_key(number, ec.SECP256R1())).sign(b"sample")
    r = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    s = "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
    assert signature.hex() == f"3046022100{r}022100{s}"


@pytest.mark.parametrize("signature", [b"", b"\x30\x00", b"garbage"])
def test_wrong_signatures(signature: bytes) -> None:
    with pytest.raises(InvalidSignatureError, match="not by the key"):
        VerificationKey.from_pem(PUBLIC).verify(signature, b"data")


def test_signatures_of_other_data_and_keys() -> None:
    signature = SigningKey.from_pem(PKCS8).sign(b"data")
    other = SigningKey(ec.generate_private_key(ec.SECP256R1()))
    for key, data in ((VerificationKey.from_pem(PUBLIC), b"Data"), (other.public_key, b"data")):
        with pytest.raises(InvalidSignatureError):
            key.verify(signature, data)


def test_public_key_round_trip_and_hint() -> None:
    key = VerificationKey.from_pem(PUBLIC)
    assert key.pem == PUBLIC
    assert key.hint == SigningKey.from_pem(PKCS8).public_key.hint
    assert len(key.hint) == 44


def test_encrypted_keys() -> None:
    pem = encrypted(b"secret")
    assert SigningKey.from_pem(pem, b"secret").public_key.pem == PUBLIC
    with pytest.raises(KeyFileError, match="needs a password"):
        SigningKey.from_pem(pem)
    with pytest.raises(KeyFileError, match="wrong password"):
        SigningKey.from_pem(pem, b"Secret")
    with pytest.raises(KeyFileError, match="is not encrypted, but a password was given"):
        SigningKey.from_pem(PKCS8, b"secret")


def private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "secp384r1; only P-256"),
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1; only P-256"),
        (rsa.generate_private_key(65537, 2048), "only ECDSA P-256"),
        (ed25519.Ed25519PrivateKey.generate(), "only ECDSA P-256"),
    ],
)
def test_other_kinds_of_key_are_refused(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, reason: str
) -> None:
    with pytest.raises(KeyFileError, match=f"{reason}.*openssl genpkey"):
        SigningKey.from_pem(private_pem(key))
    with pytest.raises(KeyFileError, match=reason):
        VerificationKey.from_pem(public_pem(key))


SIGSTORE = (
    b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "is not in PEM form"),
        (b"no key", "is not in PEM form"),
        (PKCS8 + PKCS8, "2 PEM blocks"),
        (PUBLIC, "is a public key, not a private key"),
        (SIGSTORE, "cosign's own encrypted form"),
        (PKCS8.replace(b"M", b"N", 3), "cannot be read"),
    ],
)
def test_files_without_one_private_key(pem: bytes, reason: str) -> None:
    with pytest.raises(KeyFileError, match=reason):
        SigningKey.from_pem(pem)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "is not in PEM form: .*-----BEGIN PUBLIC KEY-----"),
        (PUBLIC + PUBLIC, "2 PEM blocks"),
        (PKCS8, "private key; take its public half"),
        (PUBLIC.replace(b"MFkw", b"NFkw"), "is not a public key in PEM form"),
    ],
)
def test_files_without_one_public_key(pem: bytes, reason: str) -> None:
    with pytest.raises(KeyFileError, match=reason):
        VerificationKey.from_pem(pem)


@given(
    st.binary(max_size=300), st.sampled_from(["PUBLIC KEY", "PRIVATE KEY", "EC PRIVATE KEY", "CERTIFICATE"])
)
def test_garbage_gives_our_error_and_no_other(body: bytes, label: str) -> None:
    for pem in (body, f"-----BEGIN {label}-----\n".encode() + body + f"\n-----END {label}-----\n".encode()):
        with pytest.raises(KeyFileError):
            SigningKey.from_pem(pem)
        with pytest.raises(KeyFileError):
            VerificationKey.from_pem(pem)


def test_generated_key_is_private_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "state" / "keys" / "signing.pem"
    previous = os.umask(0)
    try:
        first = SigningKey.load_or_generate(path)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["signing.pem"]
    assert SigningKey.load_or_generate(path).public_key.hint == first.public_key.hint


def test_generated_key_with_a_password(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    key = SigningKey.load_or_generate(path, b"secret")
    assert b"ENCRYPTED" in path.read_bytes()
    assert SigningKey.load(path, b"secret").public_key.hint == key.public_key.hint
    with pytest.raises(KeyFileError, match="needs a password"):
        SigningKey.load_or_generate(path)


def test_racing_threads_agree(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    with ThreadPoolExecutor(16) as pool:
        hints = set(pool.map(lambda _: SigningKey.load_or_generate(path).public_key.hint, range(64)))
    assert len(hints) == 1
    assert os.listdir(tmp_path) == ["signing.pem"]


def test_racing_programs_agree(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from signer import SigningKey; sys.stdin.read();"
        "print(SigningKey.load_or_generate(pathlib.Path(sys.argv[1])).public_key.hint)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "signing.pem")]
    programs = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for program in programs:  # all are up before the first may go on
        assert program.stdin is not None
        program.stdin.close()
    hints = set()
    for program in programs:
        assert program.stdout is not None
        hints.add(program.stdout.read())
        program.stdout.close()
        assert program.wait() == 0
    assert len(hints) == 1


@pytest.mark.parametrize("mode", [0o604, 0o610, 0o620, 0o644, 0o777, 0o660, 0o602])
def test_files_open_to_others_are_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path / "signing.pem", PKCS8, mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}.*chmod 600 {path}"):
        SigningKey.load(path)
    with pytest.raises(KeyFileError, match="chmod 600"):
        SigningKey.load_or_generate(path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_files_of_the_owner_alone_are_taken(tmp_path: Path, mode: int) -> None:
    SigningKey.load(key_file(tmp_path / "signing.pem", PKCS8, mode))


@pytest.mark.parametrize(
    ("mode", "owner", "user", "allowed"),
    [
        (0o440, 0, 1000, True),  # a secret that an orchestrator mounts for the program's group
        (0o640, 0, 1000, True),
        (0o660, 0, 1000, False),
        (0o644, 0, 1000, False),
        (0o440, 1000, 1000, False),
        (0o440, 0, 0, False),
    ],
)
def test_files_of_root_may_be_readable_by_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, user: int, allowed: bool
) -> None:
    path = key_file(tmp_path / "signing.pem", PKCS8, mode)
    real = os.fstat
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(
        os, "fstat", lambda descriptor: os.stat_result((*real(descriptor)[:4], owner, *real(descriptor)[5:]))
    )
    if allowed:
        SigningKey.load(path)
    else:
        with pytest.raises(KeyFileError, match="chmod 600"):
            SigningKey.load(path)


def test_symbolic_links_are_followed_to_the_file_s_mode(tmp_path: Path) -> None:
    target = key_file(tmp_path / "data", PKCS8)
    link = tmp_path / "signing.pem"
    link.symlink_to(target)
    SigningKey.load(link)
    target.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        SigningKey.load(link)


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def test_unreadable_paths(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        SigningKey.load(tmp_path / "missing.pem")
    with pytest.raises(KeyFileError, match="Is a directory"):
        SigningKey.load(tmp_path)
    with pytest.raises(KeyFileError, match="No such file"):
        VerificationKey.load(tmp_path / "missing.pub")
    with pytest.raises(KeyFileError, match="cannot make the key file"):
        SigningKey.load_or_generate(key_file(tmp_path / "file", b"") / "signing.pem")
    with pytest.raises(KeyFileError, match="File name too long"):
        SigningKey.load_or_generate(tmp_path / ("x" * 300))
    with pytest.raises(KeyFileError, match="is not a regular file"):
        SigningKey.load_or_generate(fifo(tmp_path / "fifo"))
    with pytest.raises(KeyFileError, match="larger than"):
        VerificationKey.load(key_file(tmp_path / "large", bytes(70_000)))


def test_public_key_files_may_be_open(tmp_path: Path) -> None:
    assert VerificationKey.load(key_file(tmp_path / "signing.pub", PUBLIC, 0o644)).pem == PUBLIC
