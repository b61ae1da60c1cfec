"""Makes an index of converted images out of the conversions of a source index's images."""

from __future__ import annotations

from collections.abc import Sequence

from registry_hook.converted_index import converted_index, listed_as
from registry_hook.jobs.model import JsonObject
from registry_hook.requests import ConversionRequest
from registry_hook.services import Services
from registry_hook.stages.begin import children, digest_of, kept, source_index
from registry_hook.stages.outside import translated


def assemble_index(
    services: Services, request: ConversionRequest, begun: JsonObject, images: Sequence[JsonObject]
) -> JsonObject:
    """Stores the converted index under its digest.

    Args:
        services: the outside world.
        request: names the source index.
        begun: with the children that were chosen, and those that stay as they are.
        images: the results of their conversions, in the same order.

    Returns:
        `digest` of the converted index, `images`: how many of its entries are conversions, `kept`: how many
        are not, `finished`: when it was made, and `listed`: whether the registry lists it as a referrer of
        its source by itself.
    """
    source = source_index(services, request)
    with translated():
        made = {}
        for entry, image in zip(children(begun), images, strict=True):
            converted = services.registry.manifest(request.repository, str(digest_of(image)))
            made[entry.digest] = converted.descriptor
        wanted = (*children(begun), *kept(begun))
        entries = [
            listed_as(entry, made.get(entry.digest, entry)) for entry in source.manifests if entry in wanted
        ]
        index = converted_index(source, entries)
        listed = services.registry.put_manifest(
            request.repository, str(index.digest), index.raw, index.media_type
        )
    return {
        "digest": str(index.digest), "images": len(images), "kept": len(entries) - len(images),
        "listed": listed, "finished": services.now(),
    }  # fmt: skip
