"""in-toto statements (attestation framework 1.0, Statement v1): one subject, one predicate, canonical bytes.

A statement is serialised by RFC 8785, so that the same facts give the same bytes. A reader works on the bytes
that were signed and never serialises them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import rfc8785

from converter.chunk_manifest import (
    PREDICATE_BLOB,
    PREDICATE_CHUNK_MANIFEST,
    BlobChunks,
    BlobStatement,
    ChunkManifest,
)
from converter.oci import Digest, OciError
from signer.errors import InvalidRequestError, MalformedError
from signer.strict_json import parse_json

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_SIGN: Final = "https://sigstore.dev/cosign/sign/v1"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement about one digest.

    Args:
        predicate_type: URI.
        subject: the digest it is about. Never a second one: the key would vouch for that too.
        subject_name: repository with host, or None.
        predicate: the object whose form `predicate_type` names.
    """

    predicate_type: str
    subject: Digest
    subject_name: str | None
    predicate: Mapping[str, Any]

    def encode(self) -> bytes:
        """The canonical bytes.

        Raises:
            InvalidRequestError: a value that JSON cannot keep exactly, such as an integer above 2**53.
        """
        name = {"name": self.subject_name} if self.subject_name else {}
        document: dict[str, Any] = {
            "_type": STATEMENT_TYPE,
            "predicateType": self.predicate_type,
            "subject": [{**name, "digest": {"sha256": self.subject.hex}}],
            "predicate": dict(self.predicate),
        }
        try:
            return rfc8785.dumps(document)
        except rfc8785.CanonicalizationError as error:
            raise InvalidRequestError(f"a value that cannot be signed: {error}") from error

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """Reads the bytes of a statement.

        Raises:
            MalformedError: not a statement v1 with exactly one subject that has a SHA-256 digest.
        """
        try:
            value = parse_json(payload)
        except ValueError as error:
            raise MalformedError(f"the statement is not JSON: {error}") from error
        if not isinstance(value, dict) or value.get("_type") != STATEMENT_TYPE:
            raise MalformedError("the payload is not an in-toto statement v1")
        subjects, predicate, kind = value.get("subject"), value.get("predicate"), value.get("predicateType")
        if not isinstance(kind, str) or not isinstance(predicate, dict):
            raise MalformedError("the statement lacks predicateType or predicate")
        if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
            raise MalformedError("the statement does not have exactly one subject")
        digests, name = subjects[0].get("digest"), subjects[0].get("name")
        try:
            subject = Digest(digests["sha256"])  # type: ignore[index]  # the handler below takes any other type
        except (TypeError, KeyError, OciError) as error:
            raise MalformedError("the statement's subject has no SHA-256 digest") from error
        return cls(kind, subject, name if isinstance(name, str) else None, predicate)


def sign_statement(repository: str, digest: Digest) -> Statement:
    """The plain signature, what `cosign verify` looks for."""
    return Statement(PREDICATE_SIGN, digest, repository, {})


def chunk_manifest_statement(manifest: ChunkManifest) -> Statement:
    """The statement about a converted image's bytes."""
    target = manifest.target
    return Statement(PREDICATE_CHUNK_MANIFEST, target.digest, target.repository, manifest.to_predicate())


def blob_statement(blob: BlobChunks) -> Statement:
    """The statement about one blob, the same for each image and repository that holds it."""
    return Statement(PREDICATE_BLOB, blob.digest, None, BlobStatement.of(blob).to_predicate())
