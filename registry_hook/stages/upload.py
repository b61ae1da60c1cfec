"""Uploads a converted image: blobs into the store, then everything into the registry, the manifest last."""

from __future__ import annotations

from pathlib import Path

from registry_hook.errors import JobFailed
from registry_hook.jobs.model import JsonObject
from registry_hook.requests import ConversionRequest
from registry_hook.services import Services
from registry_hook.stages.convert import spooled
from registry_hook.stages.outside import translated


def store_blobs(
    services: Services, request: ConversionRequest, begun: JsonObject, directory: Path
) -> JsonObject:
    """Puts data blobs and bootstrap where the gateway and the peers find them.

    Returns:
        `blobs`, and how many of them are `new`.
    """
    image = spooled(services, request, begun, directory)
    files = {blob.descriptor.digest: blob.path for blob in image.blobs}
    files[image.bootstrap.layer_digest] = image.bootstrap_path
    with translated():
        new = sum(services.store.put(digest, path) for digest, path in files.items())
    return {"blobs": len(files), "new": new}


def upload_image(
    services: Services, request: ConversionRequest, begun: JsonObject, directory: Path
) -> JsonObject:
    """Puts the image into the registry under its digest. No tag names it yet.

    Returns:
        `digest` of the manifest, how many blobs are `new`, and `listed`: whether the registry lists the image
        as a referrer of its source by itself.

    Raises:
        JobFailed: a blob that the image borrows is gone; a new run does without.
    """
    image = spooled(services, request, begun, directory)
    registry, repository = services.registry, request.repository
    with translated():
        new = sum(registry.put_blob(repository, blob.descriptor, blob.path) for blob in image.blobs)
        for lent in image.borrowed:
            if registry.blob_size(repository, lent.descriptor.digest) != lent.descriptor.size:
                raise JobFailed(f"{lent.descriptor.digest}, which is borrowed, is gone from {repository}")
        new += registry.put_blob(repository, image.manifest.layers[-1], image.bootstrap_path)
        new += registry.put_blob(repository, image.manifest.config, image.config)
        listed = registry.put_manifest(
            repository, str(image.manifest.digest), image.manifest.raw, image.manifest.media_type
        )
    return {"digest": str(image.manifest.digest), "new": new, "listed": listed}
