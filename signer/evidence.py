"""Rules 2 to 4: finding the bundles of an image, and which statements in them can be believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeVar

from converter.oci import Descriptor, Digest, ImageManifest, OciError, WrongContentError, media_types
from signer.bundle import MAX_BUNDLE_BYTES, Bundle
from signer.errors import InvalidSignatureError, MalformedError, Rule, VerificationError
from signer.keys import VerificationKey
from signer.referrers import MAX_REFERRERS
from signer.report import SignedBy
from signer.source import Source
from signer.statements import Statement

MAX_BUNDLES: Final = 64

# Some registries list a manifest by the type of its config, and some clients by none. Whatever has another
# type, such as the reports of a scanner that adds one every day, is not counted as a bundle.
_LISTED_AS: Final = (media_types.SIGSTORE_BUNDLE, media_types.OCI_EMPTY, None)

_Candidate = TypeVar("_Candidate")
_Checked = TypeVar("_Checked")


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement by a trusted key about the digest being verified."""

    statement: Statement
    signed_by: SignedBy


@dataclass(frozen=True, slots=True)
class Evidence:
    """The bundles of one image: statements that hold, and why the others do not."""

    subject: Digest
    accepted: tuple[SignedStatement, ...]
    rejected: tuple[VerificationError, ...]

    def require(self, predicate_type: str) -> list[SignedStatement]:
        """The statements of exactly this type; one good one is enough, whatever else is attached.

        Raises:
            VerificationError: there is none. If bundles were rejected, the reason of the first is given.
        """
        found = [item for item in self.accepted if item.statement.predicate_type == predicate_type]
        if found:
            return found
        if self.rejected:
            first = self.rejected[0]
            more = f" ({len(self.rejected)} bundles rejected)" if len(self.rejected) > 1 else ""
            raise VerificationError(
                first.rule, f"no statement {predicate_type} holds for {self.subject}: {first.reason}{more}"
            )
        raise VerificationError(Rule.BUNDLES, f"{self.subject} has no bundle of the type {predicate_type}")


def collect(
    source: Source,
    repository: str,
    subject: Digest,
    keys: Sequence[VerificationKey],
    attached: Sequence[Descriptor],
) -> Evidence:
    """Reads the bundles among what is attached to `subject`.

    Args:
        source: where to read.
        repository: of the image.
        subject: the image's digest.
        keys: that are trusted, each for every type of statement.
        attached: the image's referrers.

    Raises:
        VerificationError: there are more referrers or bundles than can be read.
    """
    if len(attached) > MAX_REFERRERS:
        raise VerificationError(
            Rule.BUNDLES, f"{subject} has {len(attached)} referrers, more than {MAX_REFERRERS}"
        )
    candidates = [item for item in attached if item.artifact_type in _LISTED_AS]
    if len(candidates) > MAX_BUNDLES:
        raise VerificationError(
            Rule.BUNDLES,
            f"{subject} has {len(candidates)} referrers that may be bundles, more than {MAX_BUNDLES}",
        )
    accepted, rejected = [], []
    for candidate in candidates:
        layer = _bundle_layer(source, repository, candidate.digest)
        if layer is None:
            continue
        try:
            accepted.append(open_bundle(source, repository, layer, subject, keys))
        except VerificationError as error:
            rejected.append(error)
    return Evidence(subject, tuple(accepted), tuple(rejected))


def open_bundle(
    source: Source, repository: str, layer: Descriptor, subject: Digest, keys: Sequence[VerificationKey]
) -> SignedStatement:
    """Reads one bundle and checks its form, its signature, and that it is about `subject`.

    Raises:
        VerificationError: rule 2 for its size, 3 for its form or signature, 4 for the statement.
    """
    if layer.size > MAX_BUNDLE_BYTES:
        raise VerificationError(Rule.BUNDLES, f"bundle {layer.digest} has {layer.size} bytes")
    try:
        bundle = Bundle.parse(read_blob(source, repository, layer))
        key = _signing_key(bundle, keys)
    except (MalformedError, InvalidSignatureError) as error:
        raise VerificationError(Rule.SIGNATURE, f"bundle {layer.digest}: {error}") from error
    try:
        statement = Statement.parse(bundle.payload)
    except MalformedError as error:
        raise VerificationError(Rule.STATEMENT, f"bundle {layer.digest}: {error}") from error
    if statement.subject != subject:
        raise VerificationError(
            Rule.STATEMENT, f"bundle {layer.digest} is about {statement.subject}, not {subject}"
        )
    return SignedStatement(statement, SignedBy(statement.predicate_type, key.hint, layer.digest))


def first_that_passes(candidates: Sequence[_Candidate], check: Callable[[_Candidate], _Checked]) -> _Checked:
    """What `check` returns for the first candidate that passes it; one good candidate is enough.

    Args:
        candidates: at least one.
        check: raises VerificationError for one that fails.

    Raises:
        VerificationError: each failed; it is the failure of the first.
    """
    failures = []
    for candidate in candidates:
        try:
            return check(candidate)
        except VerificationError as error:
            failures.append(error)
    raise failures[0]


@contextmanager
def open_content(source: Source, repository: str, descriptor: Descriptor, rule: Rule) -> Iterator[BinaryIO]:
    """Opens a blob; what the source itself finds wrong with its bytes breaks `rule`."""
    try:
        with source.open_blob(repository, descriptor) as stream:
            yield stream
    except WrongContentError as error:
        raise VerificationError(rule, str(error)) from error


def read_blob(source: Source, repository: str, descriptor: Descriptor) -> bytes:
    """Reads a small blob whole; the caller has bounded its size.

    Raises:
        VerificationError: its bytes do not have the digest.
    """
    content = bytearray()
    with open_content(source, repository, descriptor, Rule.BUNDLES) as stream:
        while len(content) <= descriptor.size and (part := stream.read(descriptor.size + 1 - len(content))):
            content += part
    if len(content) != descriptor.size or Digest.of(bytes(content)) != descriptor.digest:
        raise VerificationError(
            Rule.BUNDLES, f"blob {descriptor.digest} does not have the bytes of its digest"
        )
    return bytes(content)


def read_manifest(source: Source, repository: str, digest: Digest) -> ImageManifest | None:
    """The image manifest with this digest; None where there is none, or one that cannot be used.

    Raises:
        VerificationError: the source gave another manifest.
    """
    # An index may list what a garbage collector has removed.
    if source.resolve(repository, str(digest)) is None:
        return None
    try:
        manifest = source.manifest(repository, str(digest))
    except OciError:
        return None
    if manifest.digest != digest:
        raise VerificationError(Rule.RESOLVE, f"asked for {digest}, received {manifest.digest}")
    return manifest if isinstance(manifest, ImageManifest) else None


def _bundle_layer(source: Source, repository: str, digest: Digest) -> Descriptor | None:
    manifest = read_manifest(source, repository, digest)
    if manifest is None or [layer.media_type for layer in manifest.layers] != [media_types.SIGSTORE_BUNDLE]:
        return None
    return manifest.layers[0]


def _signing_key(bundle: Bundle, keys: Sequence[VerificationKey]) -> VerificationKey:
    # The hint is not authenticated, so it is no reason to try or to leave out a key.
    for key in keys:
        try:
            bundle.verify(key)
        except InvalidSignatureError:
            continue
        return key
    hints = ", ".join(key.hint for key in keys)
    raise InvalidSignatureError(
        f"the signature is by none of the trusted keys ({hints}); it names {bundle.hint[:80]!r}"
    )
