"""Sigstore bundles 0.3 with a DSSE envelope and a public key: the form that cosign 3 reads and writes.

An envelope has exactly one signature, without a `keyid`: cosign refuses both a second signature and a key id
that is not its own kind of fingerprint. The hint next to it is not authenticated and only helps to find the
key.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError
from sigstore_models.bundle.v1 import Bundle as BundleModel

from converter.oci import encode_json, media_types
from signer.dsse import IN_TOTO, pre_authentication_encoding
from signer.errors import MalformedError
from signer.keys import Signer, VerificationKey
from signer.strict_json import parse_json

MAX_BUNDLE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bundle:
    """One signed statement.

    Args:
        payload: the exact bytes of the statement.
        signature: DER.
        hint: which key may have signed; not authenticated.
    """

    payload: bytes
    signature: bytes
    hint: str

    @classmethod
    def sign(cls, payload: bytes, signer: Signer) -> Bundle:
        """Signs a statement."""
        return cls(payload, signer.sign(pre_authentication_encoding(payload)), signer.public_key.hint)

    def verify(self, key: VerificationKey) -> None:
        """Checks the signature.

        Raises:
            InvalidSignatureError: it was not made by `key`.
        """
        key.verify(self.signature, pre_authentication_encoding(self.payload))

    def encode(self) -> bytes:
        """The bundle as JSON; equal bundles, equal bytes."""
        return encode_json(
            {
                "mediaType": media_types.SIGSTORE_BUNDLE,
                "verificationMaterial": {"publicKey": {"hint": self.hint}, "tlogEntries": []},
                "dsseEnvelope": {
                    "payload": base64.b64encode(self.payload).decode(),
                    "payloadType": IN_TOTO,
                    "signatures": [{"sig": base64.b64encode(self.signature).decode()}],
                },
            }
        )

    @classmethod
    def parse(cls, raw: bytes) -> Bundle:
        """Reads a bundle.

        Args:
            raw: at most 1 MiB. Transparency log entries and timestamps may be there; they are not looked at.

        Raises:
            MalformedError: too large, not a bundle of version 0.3, an unknown field, or anything but one
                signature over an in-toto statement by a public key.
        """
        if len(raw) > MAX_BUNDLE_BYTES:
            raise MalformedError(f"a bundle of {len(raw)} bytes is over the limit of {MAX_BUNDLE_BYTES}")
        model = _model(raw)
        if model.media_type != media_types.SIGSTORE_BUNDLE:
            raise MalformedError(f"a bundle of the media type {model.media_type}")
        envelope, key = model.dsse_envelope, model.verification_material.public_key
        if envelope is None or key is None:
            raise MalformedError("the bundle does not hold a statement signed by a public key")
        if envelope.payload_type != IN_TOTO:
            raise MalformedError(f"the envelope's payload type is {envelope.payload_type[:80]!r}")
        if len(envelope.signatures) != 1 or envelope.signatures[0].keyid:
            raise MalformedError("the envelope needs exactly one signature, without a key id")
        return cls(envelope.payload, envelope.signatures[0].sig, key.hint or "")


def _model(raw: bytes) -> BundleModel:
    try:
        value = parse_json(raw)
        material = value.get("verificationMaterial") if isinstance(value, dict) else None
        if isinstance(material, dict):
            # Protobuf's JSON leaves an empty list out, and so does cosign; the library insists on it.
            material.setdefault("tlogEntries", [])
        return BundleModel.from_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MalformedError(f"not a sigstore bundle: {place}: {first['msg']}") from error
    except ValueError as error:
        raise MalformedError(f"not a sigstore bundle: {error}") from error
