"""Signs a conversion and attaches what was signed, before any tag leads to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path

from converter.chunk_manifest import SourceImage
from converter.oci import Descriptor, Digest, ImageIndex, Manifest, fallback_tag
from converter.platforms import platform_of
from registry_hook.errors import JobFailed
from registry_hook.jobs.model import JsonObject
from registry_hook.registry import update_fallback_index
from registry_hook.registry.artifacts import push_artifact
from registry_hook.registry.errors import NotFoundError
from registry_hook.requests import ConversionRequest, text
from registry_hook.services import Services
from registry_hook.stages.begin import digest_of, source_image, source_index
from registry_hook.stages.convert import spooled
from registry_hook.stages.dictionary import pinned
from registry_hook.stages.outside import translated
from signer.attach import Artifact, referrer_descriptor
from signer.errors import ReferrersError
from signer.provenance import Build
from signer.referrers import merge_referrers
from signer.sign import (
    IndexSigningRequest,
    SignedArtifacts,
    SigningRequest,
    sign_image,
    sign_index,
)  # fmt: skip
from signer.simple_signing import merge_simple_signatures


def sign_converted(
    services: Services,
    request: ConversionRequest,
    begun: JsonObject,
    converted: JsonObject,
    uploaded: JsonObject,
    job_id: str,
    directory: Path,
) -> JsonObject:
    """Signs a converted image.

    Args:
        services: the outside world.
        request: names the source.
        begun: the kept result of the first step: when the conversion began.
        converted: the kept result of the conversion: when it was finished. Times come from kept results, so
            that a repeated step signs the same statements.
        uploaded: the kept result of the upload.
        job_id: for the provenance.
        directory: the spool directory.

    Returns:
        `artifacts`: how many were attached.
    """
    source = source_image(services, request)
    image = spooled(services, request, begun, directory)
    finished = datetime.fromisoformat(text(converted, "finished"))
    with translated():
        signed = sign_image(
            SigningRequest(
                repository=services.named(request.repository),
                manifest=image.manifest,
                source=_source(services, request, source),
                bootstrap=image.bootstrap,
                blobs=image.signed_blobs(),
                build=_build(services, job_id, begun, finished),
                issued_at=finished,
                platform=platform_of(image.config),
                references=tuple((layer.chunks, layer.chunk_list) for layer in image.references),
            ),
            services.signer,
        )
    return _attach(services, request, signed, image.manifest, listed=uploaded["listed"] is True)


def sign_index_of(
    services: Services, request: ConversionRequest, begun: JsonObject, made: JsonObject, job_id: str
) -> JsonObject:
    """Signs a converted index; its images were signed by their own jobs.

    Returns:
        `artifacts`: how many were attached.
    """
    source = source_index(services, request)
    finished = datetime.fromisoformat(text(made, "finished"))
    with translated():
        index = services.registry.manifest(request.repository, str(digest_of(made)))
        if not isinstance(index, ImageIndex):
            raise TypeError(f"{index.digest} was made as an index")
        signed = sign_index(
            IndexSigningRequest(
                repository=services.named(request.repository),
                index=index,
                source=_source(services, request, source),
                build=_build(services, job_id, begun, finished),
            ),
            services.signer,
        )
    return _attach(services, request, signed, index, listed=made["listed"] is True)


def sign_merged(
    services: Services, request: ConversionRequest, converted: JsonObject, index: ImageIndex
) -> JsonObject:
    """Signs an index of source and conversion, which is no referrer of the source.

    Args:
        services: the outside world.
        request: names the source.
        converted: the result of the conversion; its time is the index's.
        index: what is signed.

    Returns:
        `artifacts`: how many were attached.
    """
    source = services.registry.manifest(request.repository, str(request.source))
    finished = text(converted, "finished")
    signed = sign_index(
        IndexSigningRequest(
            repository=services.named(request.repository),
            index=index,
            source=_source(services, request, source),
            build=_build(
                services,
                f"merge-{index.digest.hex[:20]}",
                {"started": finished},
                datetime.fromisoformat(finished),
            ),
        ),
        services.signer,
    )
    return _attach(services, request, signed, index, listed=True)


def _attach(
    services: Services,
    request: ConversionRequest,
    signed: SignedArtifacts,
    converted: Manifest,
    *,
    listed: bool,
) -> JsonObject:
    """Pushes what was signed, and lists it where the registry does not list referrers by itself.

    The converted image goes to the front of what is listed for its source: nydus-snapshotter looks at no
    other entry.
    """
    repository = request.repository
    with translated():
        # One writer at a time for all that belongs to an image: its tags must not mix two signings.
        with services.locks.hold(repository, signed.fallback_tag):
            pushed = [_push(services, repository, artifact) for artifact in signed.referrers]
            _push(services, repository, _with_other_signatures(services, repository, signed.signature))
            if not all(pushed):
                _list(services, repository, signed.subject.digest, signed.entries, None)
        if not listed:
            with services.locks.hold(repository, fallback_tag(request.source)):
                _list(services, repository, request.source, (), referrer_descriptor(converted))
    return {"artifacts": len(signed.referrers) + 1}


def _push(services: Services, repository: str, artifact: Artifact) -> bool:
    blobs = [(blob.descriptor, blob.content) for blob in artifact.blobs]
    return push_artifact(services.registry, repository, artifact.tag, artifact.manifest, blobs)


def _list(
    services: Services,
    repository: str,
    subject: Digest,
    entries: Sequence[Descriptor],
    first: Descriptor | None,
) -> None:
    """Updates the fallback index of `subject`; the caller holds its lock."""

    def merge(existing: bytes | None, gone: Collection[str]) -> bytes:
        return merge_referrers(existing, entries, first, gone)

    try:
        update_fallback_index(services.registry, repository, subject, merge, nullcontext())
    except ReferrersError as error:
        raise JobFailed(f"{services.named(repository)}:{fallback_tag(subject)}: {error}") from error


def _with_other_signatures(services: Services, repository: str, ours: Artifact) -> Artifact:
    try:
        existing: bytes | None = services.registry.manifest(repository, ours.tag).raw
    except NotFoundError:
        existing = None
    return merge_simple_signatures(existing, ours)


def _source(services: Services, request: ConversionRequest, source: Manifest) -> SourceImage:
    return SourceImage(services.named(request.repository), source.digest, source.media_type)


def _build(services: Services, job_id: str, begun: JsonObject, finished: datetime) -> Build:
    options, lent = services.options, pinned(begun)
    return Build(
        builder_id=services.builder_id,
        versions=services.versions,
        parameters={
            "compressor": options.compressor,
            "level": options.level,
            "chunkSize": options.chunk_size,
            "kernelMountable": options.kernel_mountable,
            "shareLayers": options.share_layers,
            "ociRef": options.oci_ref,
            "encoder": options.fingerprint(),
            **({"maxBorrowed": services.dedup.max_borrowed} if lent else {}),
        },
        source_verification="not verified",
        invocation_id=job_id,
        started_on=datetime.fromisoformat(text(begun, "started")),
        finished_on=finished,
        dictionary=tuple(lent),
    )
