"""The chunk dictionary of a conversion: earlier conversions in the same repository.

They are chosen once, when a job begins, and pinned by their digests in the result of that step; whatever is
repeated later gets the same list. Only what our own key vouches for is taken. Otherwise whoever may push to a
repository could have wrong content signed: a bootstrap that lies about a chunk is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from converter.chunk_manifest import BlobChunks
from converter.dictionary import ChunkDictionary
from converter.dictionary_reader import DictionaryImage, open_dictionary_image, read_dictionary
from converter.errors import DictionaryError
from converter.oci import Digest, ImageManifest, Platform
from registry_hook.errors import JobFailed
from registry_hook.jobs.model import JobQuery, JobState, JsonObject
from registry_hook.registry.errors import NotFoundError
from registry_hook.requests import IMAGE, ConversionRequest
from registry_hook.services import Services
from registry_hook.stages.outside import translated
from signer.errors import VerificationError
from signer.report import ImageReport
from signer.verify import VerificationPolicy, verify_image

# What is looked at, newest first: jobs of all repositories, and of these the conversions of this one.
_MAX_JOBS: Final = 2000
_PAGE: Final = 500
_MAX_CANDIDATES: Final = 8
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PinnedDictionary:
    """An opened dictionary, and what is signed of the blobs that its images list."""

    dictionary: ChunkDictionary
    chunks: dict[Digest, BlobChunks]


def choose_dictionary(
    services: Services, request: ConversionRequest, source: ImageManifest, platform: Platform | None
) -> list[Digest]:
    """Chooses the images that a conversion may borrow from, most useful first.

    Of the newest conversions for the same platform those come first whose sources have most in common with
    this one, counted in bytes of equal layers.

    Returns:
        Digests of converted images; none where the repository is not to share.

    Raises:
        RetryLater: the registry or the job database is unavailable.
    """
    policy = services.dedup
    if not policy.applies_to(request.repository):
        return []
    chosen: list[Digest] = []
    opened: list[DictionaryImage] = []
    with translated():
        for digest in _candidates(services, request, source, platform):
            if len(chosen) == policy.versions:
                break
            try:
                image, report = _open(services, request.repository, digest)
                if report.chunk_manifest.target.platform != platform:
                    continue
                _check_compressor(report, services.options.compressor)
                read_dictionary([*opened, image], services.options)
            except (VerificationError, DictionaryError, NotFoundError) as error:
                _log.info(
                    "not shared with", digest=str(digest), repository=request.repository, why=str(error)
                )
                continue
            opened.append(image)
            chosen.append(digest)
    return chosen


def open_dictionary(
    services: Services, repository: str, digests: Sequence[Digest]
) -> PinnedDictionary | None:
    """Opens the images that `choose_dictionary` chose; None if there are none.

    Raises:
        JobFailed: one of them is gone, or no longer what it was. A new run chooses anew.
        RetryLater: the registry is unavailable.
    """
    if not digests:
        return None
    chunks: dict[Digest, BlobChunks] = {}
    images = []
    with translated():
        for digest in digests:
            try:
                image, report = _open(services, repository, digest)
            except VerificationError as error:
                raise JobFailed(f"the chunk dictionary {digest} does not verify any more: {error}") from error
            images.append(image)
            for blob in report.chunk_manifest.blobs:
                chunks.setdefault(blob.digest, blob)
        dictionary = read_dictionary(images, services.options, services.dedup.max_borrowed)
    return PinnedDictionary(dictionary, chunks)


def pinned(begun: JsonObject) -> list[Digest]:
    """The digests in the result of a job's first step; a job of an older version has none."""
    digests = begun.get("dictionary")
    return [Digest.parse(str(digest)) for digest in digests] if isinstance(digests, list) else []


def _candidates(
    services: Services, request: ConversionRequest, source: ImageManifest, platform: Platform | None
) -> list[Digest]:
    """Converted images of other sources in the repository."""
    sizes = {layer.digest: layer.size for layer in source.layers}
    found: dict[Digest, int] = {}
    for other, converted in _earlier(services, request, platform):
        if converted not in found:
            manifest = _manifest(services, request.repository, other)
            layers = {layer.digest for layer in manifest.layers} if manifest else set()
            found[converted] = sum(size for digest, size in sizes.items() if digest in layers)
        if len(found) == _MAX_CANDIDATES:
            break
    return sorted(found, key=lambda digest: -found[digest])


def _earlier(
    services: Services, request: ConversionRequest, platform: Platform | None
) -> Iterator[tuple[Digest, Digest]]:
    """Source and result of finished conversions in the repository, newest first."""
    for offset in range(0, _MAX_JOBS, _PAGE):
        page = services.jobs.list_jobs(JobQuery((IMAGE,), (JobState.DONE,), _PAGE, offset))
        for job in page:
            result, other = job.result or {}, str(job.arguments.get("source"))
            elsewhere = job.arguments.get("repository") != request.repository
            if elsewhere or other == str(request.source) or "digest" not in result:
                continue
            if result.get("platform", str(platform)) == str(platform):
                yield Digest.parse(other), Digest.parse(str(result["digest"]))
        if len(page) < _PAGE:
            break


def _check_compressor(report: ImageReport, wanted: str) -> None:
    """Checks that an image is compressed as new ones are to be: a changed setting must not live on in parts.

    Raises:
        DictionaryError: it is not.
    """
    found = {blob.compressor for blob in report.chunk_manifest.blobs if blob.chunk_count}
    if found - {wanted}:
        raise DictionaryError(f"it has blobs of {', '.join(sorted(found))}, and new ones are to be {wanted}")


def _open(services: Services, repository: str, digest: Digest) -> tuple[DictionaryImage, ImageReport]:
    policy = VerificationPolicy(
        keys=(services.signer.public_key,),
        repositories=frozenset({services.named(repository)}),
        builder_ids=frozenset({services.builder_id}),
    )
    report = verify_image(services.registry, repository, str(digest), policy)
    manifest = services.registry.manifest(repository, str(digest))
    if not isinstance(manifest, ImageManifest):
        raise DictionaryError(f"{digest} is no image")
    (image,) = report.images
    source = _manifest(services, repository, image.provenance.source_digest)
    opened = open_dictionary_image(manifest, partial(services.registry.open_blob, repository), source)
    return opened, image


def _manifest(services: Services, repository: str, digest: Digest) -> ImageManifest | None:
    try:
        manifest = services.registry.manifest(repository, str(digest))
    except NotFoundError:
        return None
    return manifest if isinstance(manifest, ImageManifest) else None
