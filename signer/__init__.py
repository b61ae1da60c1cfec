"""Who vouches for a chunk manifest: keys, envelopes, what gets attached, and the check of all of it.

Pure: no network, no environment, no clock, no randomness but that of a new key. Times and ids come with a
request, and what is signed goes back to the caller to push.
"""

from signer.attach import Artifact, ArtifactBlob, referrer_descriptor
from signer.errors import (
    InvalidRequestError,
    InvalidSignatureError,
    KeyFileError,
    MalformedError,
    ReferrersError,
    Rule,
    SignerError,
    VerificationError,
)
from signer.keys import Signer, SigningKey, VerificationKey
from signer.provenance import DEFAULT_BUILDER_ID, PREDICATE_PROVENANCE, Build
from signer.referrers import merge_referrers
from signer.report import ImageReport, IndexReport, VerificationReport
from signer.sign import IndexSigningRequest, SignedArtifacts, SigningRequest, sign_image, sign_index
from signer.simple_signing import merge_simple_signatures
from signer.source import Source
from signer.statements import PREDICATE_SIGN
from signer.verify import VerificationPolicy, verify_image

__all__ = [
    "DEFAULT_BUILDER_ID",
    "PREDICATE_PROVENANCE",
    "PREDICATE_SIGN",
    "Artifact",
    "ArtifactBlob",
    "Build",
    "ImageReport",
    "IndexReport",
    "IndexSigningRequest",
    "InvalidRequestError",
    "InvalidSignatureError",
    "KeyFileError",
    "MalformedError",
    "ReferrersError",
    "Rule",
    "SignedArtifacts",
    "Signer",
    "SignerError",
    "SigningKey",
    "SigningRequest",
    "Source",
    "VerificationError",
    "VerificationKey",
    "VerificationPolicy",
    "VerificationReport",
    "merge_referrers",
    "merge_simple_signatures",
    "referrer_descriptor",
    "sign_image",
    "sign_index",
    "verify_image",
]
