"""The first step of a conversion: what is to be converted, and when it began."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from converter.classify import Kind, check_convertible, classify, is_image_entry
from converter.oci import Descriptor, Digest, ImageIndex, ImageManifest, Manifest, contradict
from converter.platforms import platform_of
from registry_hook.errors import JobFailed
from registry_hook.jobs.model import JsonObject
from registry_hook.requests import IMAGE, ConversionRequest, text
from registry_hook.services import Services
from registry_hook.stages.dictionary import choose_dictionary
from registry_hook.stages.outside import translated

# What no image config reaches; Distribution takes manifests up to the same size.
MAX_CONFIG_BYTES: Final = 4 * 1024 * 1024
# There are some dozens of platforms. 4 MiB of index could name 40,000 images, each of them a request here and
# a job.
_MAX_IMAGES: Final = 256


def begin_image(services: Services, request: ConversionRequest) -> JsonObject:
    """Checks that the source is an image.

    Returns:
        `started`: the time for the provenance, and `dictionary`: the converted images to share blobs with,
        where the repository does that. A repeated step must not change either.
    """
    source = source_image(services, request)
    result: dict[str, object] = {"started": services.now()}
    if services.dedup.applies_to(request.repository):
        platform = platform_of(source_config(services, request.repository, source))
        chosen = choose_dictionary(services, request, source, platform)
        result["dictionary"] = [str(digest) for digest in chosen]
    return result


def source_image(services: Services, request: ConversionRequest) -> ImageManifest:
    """Fetches the manifest of the source.

    Raises:
        JobFailed: it is not an image that can be converted.
        RetryLater: the registry is unavailable.
    """
    with translated(reads_source=True):
        manifest = services.registry.manifest(request.repository, str(request.source))
    if not isinstance(manifest, ImageManifest):
        raise JobFailed(f"{request.source} is not an image that can be converted", bad_input=True)
    with translated(reads_source=True):
        check_convertible(manifest, include_foreign=services.options.include_foreign)
    return manifest


def source_config(services: Services, repository: str, source: ImageManifest) -> bytes:
    """Fetches the image config of the source.

    Raises:
        JobFailed: it is longer than any config, or not what the manifest names.
        RetryLater: the registry is unavailable.
    """
    size = source.config.size
    if size > MAX_CONFIG_BYTES:
        raise JobFailed(
            f"the image config has {size} bytes, over the limit of {MAX_CONFIG_BYTES}", bad_input=True
        )
    with translated(reads_source=True), services.registry.open_blob(repository, source.config) as stream:
        return stream.read()


def begin_index(services: Services, request: ConversionRequest) -> JsonObject:
    """Chooses the children of an index that are converted: its images, without attestations and the like.

    Returns:
        `started`, and `children` and `kept`: the entries of the index that are converted, and those of images
        that stay as they are because of layers that may not be distributed; as JSON, in its order.

    Raises:
        JobFailed: no image can be converted; there are too many; or all entries that name an image contradict
            its config, whose platform is signed, so nobody could verify the result.
        RetryLater: the registry is unavailable.
    """
    source = source_index(services, request)
    named = [entry for entry in source.manifests if is_image_entry(entry)]
    if len(named) > _MAX_IMAGES:
        raise JobFailed(
            f"the index {request.source} has {len(named)} images, over the limit of {_MAX_IMAGES}",
            bad_input=True,
        )
    images = {entry.digest: _child(services, request.repository, entry) for entry in named}
    kinds = [(entry, classify(images[entry.digest])) for entry in named]
    converted = (Kind.IMAGE, Kind.FOREIGN) if services.options.include_foreign else (Kind.IMAGE,)
    chosen = [entry for entry, kind in kinds if kind in converted]
    left = [entry for entry, kind in kinds if kind is Kind.FOREIGN and kind not in converted]
    if not chosen:
        raise JobFailed(f"the index {request.source} has no image that can be converted", bad_input=True)
    for digest in dict.fromkeys(entry.digest for entry in chosen):
        _refuse_contradiction(services, request, images[digest], [e for e in chosen if e.digest == digest])
    return {
        "started": services.now(),
        "children": [entry.to_json() for entry in chosen],
        "kept": [entry.to_json() for entry in left],
    }


def source_index(services: Services, request: ConversionRequest) -> ImageIndex:
    """Fetches the source index.

    Raises:
        JobFailed: it is not an index of images.
        RetryLater: the registry is unavailable.
    """
    with translated(reads_source=True):
        manifest = services.registry.manifest(request.repository, str(request.source))
    if not isinstance(manifest, ImageIndex):
        raise JobFailed(f"{request.source} is not an index", bad_input=True)
    return manifest


def children(begun: JsonObject) -> list[Descriptor]:
    """The entries that `begin_index` chose."""
    return _entries(begun, "children")


def kept(begun: JsonObject) -> list[Descriptor]:
    """The entries of images that stay as they are."""
    return _entries(begun, "kept")


def _entries(begun: JsonObject, key: str) -> list[Descriptor]:
    entries = begun.get(key)  # a step that an earlier version ran has no `kept`
    return [Descriptor.from_json(entry) for entry in entries] if isinstance(entries, list) else []


def child_requests(source: ConversionRequest, begun: JsonObject) -> list[ConversionRequest]:
    """The conversions of the children that `begin_index` chose."""
    return [
        ConversionRequest(IMAGE, source.repository, child.digest, source.settings, source.priority)
        for child in children(begun)
    ]


def _child(services: Services, repository: str, entry: Descriptor) -> Manifest:
    with translated(reads_source=True):
        return services.registry.manifest(repository, str(entry.digest))


def _refuse_contradiction(
    services: Services, request: ConversionRequest, image: Manifest, entries: Sequence[Descriptor]
) -> None:
    if not isinstance(image, ImageManifest):
        return
    with translated(reads_source=True):
        own = platform_of(source_config(services, request.repository, image))
    if contradict(own, [entry.platform for entry in entries]):
        named = ", ".join(str(entry.platform) for entry in entries)
        raise JobFailed(
            f"the index {request.source} says {named} of the image {image.digest}, its config {own}; "
            "one of them is wrong",
            bad_input=True,
        )


def digest_of(result: JsonObject) -> Digest:
    """The digest in a step's or job's result."""
    return Digest.parse(text(result, "digest"))
