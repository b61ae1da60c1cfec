"""Uploads a converted image: blobs into the store, then everything into the registry, the manifest last."""

from __future__ import annotations

from pathlib import Path

from registry_hook.jobs.model import JsonObject
from registry_hook.requests import ConversionRequest
from registry_hook.services import Services
from registry_hook.stages.convert import spooled
from registry_hook.stages.outside import translated


def store_blobs(services: Services, request: ConversionRequest, directory: Path) -> JsonObject:
    """Puts data blobs and bootstrap where the gateway and the peers find them.

    Returns:
        `blobs`, and how many of them are `new`.
    """
    image = spooled(services, request, directory)
    files = {blob.descriptor.digest: blob.path for blob in image.blobs}
    files[image.bootstrap.layer_digest] = image.bootstrap_path
    with translated():
        new = sum(services.store.put(digest, path) for digest, path in files.items())
    return {"blobs": len(files), "new": new}


def upload_image(services: Services, request: ConversionRequest, directory: Path) -> JsonObject:
    """Puts the image into the registry under its digest. No tag names it yet.

    Returns:
        `digest` of the manifest, how many blobs are `new`, and `listed`: whether the registry lists the image
        as a referrer of its source by itself.
    """
    image = spooled(services, request, directory)
    registry, repository = services.registry, request.repository
    with translated():
        new = sum(registry.put_blob(repository, blob.descriptor, blob.path) for blob in image.blobs)
        new += registry.put_blob(repository, image.manifest.layers[-1], image.bootstrap_path)
        new += registry.put_blob(repository, image.manifest.config, image.config)
        listed = registry.put_manifest(
            repository, str(image.manifest.digest), image.manifest.raw, image.manifest.media_type
        )
    return {"digest": str(image.manifest.digest), "new": new, "listed": listed}
