"""Looks at a tag: what it means now, and whether that is something to convert."""

from __future__ import annotations

from typing import Final

from converter.classify import Kind, classify, is_foreign_layer
from converter.oci import Descriptor, Digest, ImageIndex, ImageManifest, Manifest, media_types
from registry_hook.errors import JobFailed, RetryLater
from registry_hook.jobs.model import JsonObject
from registry_hook.merged_index import merged_from
from registry_hook.notification import is_artifact_tag
from registry_hook.registry.errors import NotFoundError
from registry_hook.requests import IMAGE, INDEX, PublicationRequest
from registry_hook.services import Services
from registry_hook.stages.outside import translated

# The registry sends the event first and writes the tag then: at once, 24 to 30 of 60 tags were missing and 17
# to 29 showed their old digest. What a tag shows this long after the event is its meaning.
SETTLE_S: Final = 5.0
# A tag that is still missing after this time was deleted.
GONE_S: Final = 60.0
_POLL_S: Final = 0.5


def resolve_tag(services: Services, request: PublicationRequest) -> JsonObject:
    """Finds what is to be published for a tag.

    Returns:
        `digest` and `kind` (image or index) of the source, or `skipped` with the reason.
    """
    if is_artifact_tag(request.tag):
        return {"skipped": "an artifact's tag"}
    with translated(reads_source=True):
        found = _settled(services, request)
        if found is None:
            return {"skipped": f"the tag is gone since {GONE_S:.0f} s"}
        try:
            manifest = services.registry.manifest(request.repository, str(found.digest))
        except NotFoundError as error:
            raise RetryLater(f"{request.repository}@{found.digest} was deleted meanwhile") from error
        if services.merged_index and (source := merged_from(manifest)) is not None:
            manifest = _source_of_merged(services, request, source)
        _refuse_unreadable(manifest)
        reason = why_not(manifest, include_foreign=services.options.include_foreign)
        if reason is not None:
            return {"skipped": reason, "digest": str(found.digest)}
        kind = INDEX if isinstance(manifest, ImageIndex) else IMAGE
        return {"digest": str(manifest.digest), "kind": kind}


def why_not(manifest: Manifest, *, include_foreign: bool = False) -> str | None:
    """The reason why a manifest is not converted, in one line; None for an image or index that is."""
    kind = classify(manifest)
    if kind in (Kind.IMAGE, Kind.INDEX) or (kind is Kind.FOREIGN and include_foreign):
        return None
    return _REASONS[kind]


def _source_of_merged(services: Services, request: PublicationRequest, source: Digest) -> Manifest:
    try:
        return services.registry.manifest(request.repository, str(source))
    except NotFoundError as error:
        raise JobFailed(
            f"{request.tag} is a merged index of {source}, which is gone: push the image again"
        ) from error


def _refuse_unreadable(manifest: Manifest) -> None:
    """Refuses what says that it is an image but has layers that cannot be read.

    Raises:
        JobFailed: the config is an image's, a layer is not. An artifact would have a config of its own kind.
    """
    if not isinstance(manifest, ImageManifest) or manifest.artifact_type or manifest.subject:
        return
    if manifest.config.media_type not in media_types.IMAGE_CONFIG_TYPES or classify(manifest) in _DONE:
        return
    for number, layer in enumerate(manifest.layers, 1):
        if layer.media_type not in media_types.LAYER_TYPES and not is_foreign_layer(layer):
            raise JobFailed(
                f"layer {number} of {len(manifest.layers)} ({layer.digest}) has the type "
                f"{layer.media_type[:100]!r}, which is not a layer that can be read",
                bad_input=True,
            )


_DONE: Final = (Kind.NYDUS, Kind.EROFS)
_REASONS: Final = {
    Kind.NYDUS: "a Nydus image already",
    Kind.EROFS: "an image of EROFS file systems, which Linux mounts as it is",
    Kind.ARTIFACT: "an artifact, not an image",
    Kind.FOREIGN: "kept as it is: an image with layers that may not be distributed (convert.include_foreign)",
    Kind.UNSUPPORTED: "an image with layers that cannot be read",
}


def _settled(services: Services, request: PublicationRequest) -> Descriptor | None:
    """What the tag means, after waiting for a tag that the registry has yet to write."""
    while True:
        found = services.registry.resolve(request.repository, request.tag)
        age_s = services.now_s() - request.received_s
        if found is None and age_s >= GONE_S:
            return None
        if found is not None and (request.pushed in (None, found.digest) or age_s >= SETTLE_S):
            return found
        services.sleep(_POLL_S)
