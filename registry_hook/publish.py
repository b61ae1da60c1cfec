"""Moves `<tag>-nydus`, the last step of everything.

Distribution has no If-Match on manifests. What protects the tag is a lock that all our workers share and a
second look at the source tag afterwards: if it moved, everything is done again. A writer that is not ours can
still come in between; the sweep finds that.
"""

from __future__ import annotations

from typing import Final

import structlog

from converter.classify import Kind, classify
from converter.oci import Digest, ImageIndex, Manifest
from registry_hook.jobs.model import JsonObject
from registry_hook.merged_index import merged_from
from registry_hook.registry.errors import NotFoundError
from registry_hook.requests import ConversionRequest, PublicationRequest, text
from registry_hook.services import Services
from registry_hook.stages.merge import put_merged_index
from registry_hook.stages.outside import translated

SUFFIX: Final = "-nydus"
_MAX_TAG: Final = 128
_log = structlog.get_logger(__name__)


def converted_tag(tag: str) -> str | None:
    """The tag of the converted image; None if it would be longer than a tag may be."""
    return tag + SUFFIX if len(tag) + len(SUFFIX) <= _MAX_TAG else None


def publish_tag(
    services: Services, request: PublicationRequest, source: ConversionRequest, converted: JsonObject
) -> JsonObject:
    """Points `<tag>-nydus` to a converted image, if the tag still means its source.

    Returns:
        `published` with what was done, `skipped` with a reason, or `moved` if the tag means something else
        (or nothing) by now.
    """
    target = converted_tag(request.tag)
    if target is None:
        return {"skipped": f"the tag is too long for {SUFFIX} after it"}
    digest = Digest.parse(text(converted, "digest"))
    with translated(), services.locks.hold(request.repository, request.tag):
        if not _means(services, request, source.source):
            return {"moved": True}
        current = services.registry.resolve(request.repository, target)
        if current is None or current.digest != digest:
            if current is not None and _is_taken(services, request.repository, target):
                return {"skipped": f"{target} is an image of its own, not a conversion; it is left alone"}
            manifest = services.registry.manifest(request.repository, str(digest))
            services.registry.put_manifest(request.repository, target, manifest.raw, manifest.media_type)
            _log.info("tag moved", repository=request.repository, tag=target, digest=str(digest))
        merged = {}
        if services.merged_index:
            index = put_merged_index(services, source, converted)
            # The last look is as near to the move as it can be: a push in between would be lost.
            if not _means(services, request, source.source):
                return {"moved": True}
            _move(services, request, index)
            merged = {"merged": str(index.digest)}
        elif not _means(services, request, source.source):
            return {"moved": True}
    return {"published": target, "digest": str(digest), "source": str(source.source), **merged}


def _move(services: Services, request: PublicationRequest, index: ImageIndex) -> None:
    """Points the source's tag to the merged index, if it does not yet."""
    current = services.registry.resolve(request.repository, request.tag)
    if current is None or current.digest != index.digest:
        services.registry.put_manifest(request.repository, request.tag, index.raw, index.media_type)
        _log.info("tag moved", repository=request.repository, tag=request.tag, digest=str(index.digest))


def _means(services: Services, request: PublicationRequest, source: Digest) -> bool:
    """Whether the tag means the source: itself, or an index of ours that offers it with a conversion."""
    found = services.registry.resolve(request.repository, request.tag)
    if found is None or found.digest == source or not services.merged_index:
        return found is not None and found.digest == source
    return merged_from(services.registry.manifest(request.repository, str(found.digest))) == source


def is_foreign(manifest: Manifest) -> bool:
    """Whether what lies under a converted image's tag is an ordinary image that somebody pushed."""
    return classify(manifest) in (Kind.IMAGE, Kind.INDEX)


def _is_taken(services: Services, repository: str, target: str) -> bool:
    try:
        return is_foreign(services.registry.manifest(repository, target))
    except NotFoundError:
        return False
