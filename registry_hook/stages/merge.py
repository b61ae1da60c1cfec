"""Offers an image and its conversion under the source's own tag, where that is asked for."""

from __future__ import annotations

from dataclasses import replace

from converter.oci import Descriptor, ImageIndex, ImageManifest
from converter.platforms import platform_of
from registry_hook.errors import JobFailed
from registry_hook.jobs.model import JsonObject
from registry_hook.merged_index import is_original, merged_index
from registry_hook.requests import ConversionRequest
from registry_hook.services import Services
from registry_hook.stages.begin import digest_of, source_config
from registry_hook.stages.sign import sign_merged


def put_merged_index(services: Services, source: ConversionRequest, converted: JsonObject) -> ImageIndex:
    """Stores the merged index of a source and its conversion under its digest, and signs it.

    Repeating it changes nothing: all that goes into it, the time included, comes from the conversion.

    Args:
        services: the outside world.
        source: names the source.
        converted: the result of its conversion.

    Raises:
        JobFailed: an image names no platform, by which clients would find its conversion.
    """
    registry, repository = services.registry, source.repository
    original = registry.manifest(repository, str(source.source))
    made = registry.manifest(repository, str(digest_of(converted)))
    if isinstance(original, ImageIndex) and isinstance(made, ImageIndex):
        originals = tuple(
            entry
            for entry in original.manifests
            if is_original(entry, lambda digest: registry.manifest(repository, str(digest)))
        )
        own = {entry.digest for entry in originals}
        conversions: tuple[Descriptor, ...] = tuple(e for e in made.manifests if e.digest not in own)
    elif isinstance(original, ImageManifest):
        platform = platform_of(source_config(services, repository, original))
        originals = (replace(original.descriptor, platform=platform),)
        conversions = (replace(made.descriptor, platform=platform),)
    else:
        raise TypeError(f"{made.digest} is not a conversion of {original.digest}")
    if any(entry.platform is None for entry in conversions):
        raise JobFailed(f"{source.source} cannot be in a merged index: an image names no platform")
    index = merged_index(original, originals, conversions)
    registry.put_manifest(repository, str(index.digest), index.raw, index.media_type)
    sign_merged(services, source, converted, index)
    return index
