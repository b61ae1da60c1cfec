import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.oci import Digest
from signer import InvalidSignatureError, MalformedError, SigningKey, VerificationKey
from signer.bundle import MAX_BUNDLE_BYTES, Bundle
from signer.dsse import pre_authentication_encoding
from signer.statements import PREDICATE_SIGN, Statement
from tests.signer.test_keys import PKCS8

# Made and accepted by cosign 3.1.3; the key was thrown away.
PUBLIC_KEY = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhFFM6r2wkoEhLMmGjCKuT5fionkU
UvED667S5Z5kWXHPg5gQElkfVTQsQ3hlbPpUVDNZwTIHGpfuMxR8reSRpw==
-----END PUBLIC KEY-----
"""
HINT = "S5lY1pGkizoGqyWuffoo6U5DJAvqEDzwACieIerfk3E="
PAYLOAD = (
    b'{"_type":"https://in-toto.io/Statement/v1","predicate":{},'
    b'"predicateType":"https://sigstore.dev/cosign/sign/v1","subject":[{"digest":{"sha256":'
    b'"1ef9814e8ee0266a6d3ad40c9b84a8480b8eb7c0ba21982761ddef5f8f1e51f6"},"name":"127.0.0.1:5601/final/app"}]}'
)
SIGNATURE = "MEQCIAcNDBODobXdGMScQDZANkfRHwtImXYwJ8R1/G3Hv3gaAiB6SE0Gep/1p65Cyg4mIG3ouQ11I/ALVP7F1SbQT++XMQ=="
RAW = (
    b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":'
    b'{"hint":"%s"},"tlogEntries":[]},"dsseEnvelope":{"payload":"%s","payloadType":'
    b'"application/vnd.in-toto+json","signatures":[{"sig":"%s"}]}}'
    % (HINT.encode(), base64.b64encode(PAYLOAD), SIGNATURE.encode())
)
KEY = VerificationKey.from_pem(PUBLIC_KEY)


def test_the_bundle_of_another_implementation() -> None:
    assert Digest.of(RAW).hex == "c1adf691ea771995aee066a021cdc283db47d2397100ecde43210389294ab603"
    bundle = Bundle.parse(RAW)
    bundle.verify(KEY)
    assert bundle.payload == PAYLOAD
    assert bundle.hint == KEY.hint == HINT
    assert bundle.encode() == RAW
    statement = Statement.parse(bundle.payload)
    assert statement.predicate_type == PREDICATE_SIGN
    assert statement.subject.hex == "1ef9814e8ee0266a6d3ad40c9b84a8480b8eb7c0ba21982761ddef5f8f1e51f6"
    assert statement.encode() == PAYLOAD


def test_pre_authentication_encoding() -> None:
    """The example of the DSSE protocol's own text."""
    encoded = pre_authentication_encoding(b"hello world", "http://example.com/HelloWorld")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_reading_inverts_signing() -> None:
    key = SigningKey.from_pem(PKCS8)
    bundle = Bundle.sign(PAYLOAD, key)
    assert Bundle.parse(bundle.encode()) == bundle == Bundle.sign(PAYLOAD, key)
    bundle.verify(key.public_key)
    with pytest.raises(InvalidSignatureError):
        bundle.verify(KEY)


def test_transparency_entries_and_timestamps_do_not_disturb() -> None:
    value = json.loads(RAW)
    value["verificationMaterial"]["timestampVerificationData"] = {
        "rfc3161Timestamps": [{"signedTimestamp": base64.b64encode(b"stamp").decode()}]
    }
    Bundle.parse(json.dumps(value).encode()).verify(KEY)


def test_the_empty_list_that_cosign_leaves_out() -> None:
    value = json.loads(RAW)
    del value["verificationMaterial"]["tlogEntries"]
    Bundle.parse(json.dumps(value).encode()).verify(KEY)


def test_a_key_that_occurs_twice_is_refused() -> None:
    with pytest.raises(MalformedError, match="occurs twice"):
        Bundle.parse(RAW.replace(b'{"payload":', b'{"payload":"AA==","payload":'))


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda b: b.pop("mediaType"), "mediaType"),
        (lambda b: b.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"), "media type"),
        (lambda b: b.update(mediaType="text/plain"), "mediaType"),
        (lambda b: b.update(unknown=1), "unknown"),
        (lambda b: b.pop("dsseEnvelope"), "Exactly one of"),
        (lambda b: b.update(messageSignature={"signature": "AA=="}), "Exactly one of"),
        (
            lambda b: (b.pop("dsseEnvelope"), b.update(messageSignature={"signature": "AA=="})),
            "statement signed",
        ),
        (lambda b: b["verificationMaterial"].pop("publicKey"), "Exactly one of"),
        (
            lambda b: b.update(verificationMaterial={"certificate": {"rawBytes": "AA=="}, "tlogEntries": []}),
            "statement signed by a public key",
        ),
        (lambda b: b["dsseEnvelope"].update(payloadType="text/plain"), "payload type is 'text/plain'"),
        (lambda b: b["dsseEnvelope"].update(payload=5), "payload"),
        (lambda b: b["dsseEnvelope"].update(signatures=[]), "exactly one signature"),
        (lambda b: b["dsseEnvelope"]["signatures"].append({"sig": SIGNATURE}), "exactly one signature"),
        (lambda b: b["dsseEnvelope"]["signatures"][0].update(keyid=HINT), "without a key id"),
        (lambda b: b["dsseEnvelope"]["signatures"][0].update(sig="A"), "not a sigstore bundle"),
    ],
)
def test_other_forms_are_refused(edit: Edit, reason: str) -> None:
    value = json.loads(RAW)
    edit(value)
    with pytest.raises(MalformedError, match=reason):
        Bundle.parse(json.dumps(value).encode())


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"a":' * 5000, b"1" * 5000])
def test_what_is_no_bundle_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError, match="not a sigstore bundle"):
        Bundle.parse(raw)


def test_large_bundles_are_refused() -> None:
    with pytest.raises(MalformedError, match="over the limit"):
        Bundle.parse(RAW + b" " * (MAX_BUNDLE_BYTES + 1 - len(RAW)))


@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_no_changed_byte_changes_what_is_believed(at: int, mask: int) -> None:
    raw = RAW[:at] + bytes([RAW[at] ^ mask]) + RAW[at + 1 :]
    try:
        bundle = Bundle.parse(raw)
        bundle.verify(KEY)
    except (MalformedError, InvalidSignatureError):
        return
    assert bundle.payload == PAYLOAD


@given(st.binary(max_size=300))
def test_garbage_gives_our_error_and_no_other(raw: bytes) -> None:
    for reader in (Bundle.parse, Statement.parse):
        with pytest.raises(MalformedError):
            reader(raw)
