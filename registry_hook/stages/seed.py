"""Brings a published image to the peers. It comes after the tag: seeding never holds one back."""

from __future__ import annotations

from converter.oci import Descriptor, ImageIndex
from p2p_seed.seed import seed_blobs
from registry_hook.jobs.model import JsonObject
from registry_hook.requests import PublicationRequest
from registry_hook.services import Services
from registry_hook.stages.begin import digest_of
from registry_hook.stages.outside import translated


def seed(services: Services, request: PublicationRequest, converted: JsonObject) -> JsonObject:
    """Seeds the blobs of a converted image, or of each image of a converted index.

    Returns:
        `seeded`: whether every blob is proven to be at the seed peers, and `seeding`: a line for people.
    """
    with translated():
        blobs = _blobs(services, request.repository, converted)
        report = seed_blobs({services.seeding.name: services.seeding}, blobs)
    return {"seeded": report.seeded, "seeding": report.summary}


def _blobs(services: Services, repository: str, converted: JsonObject) -> list[Descriptor]:
    """What nodes fetch, the most wanted first: the bootstraps, without which nothing can be mounted."""
    manifest = services.registry.manifest(repository, str(digest_of(converted)))
    images = [manifest]
    if isinstance(manifest, ImageIndex):
        images = [services.registry.manifest(repository, str(entry.digest)) for entry in manifest.manifests]
    layers = [image.layers for image in images if not isinstance(image, ImageIndex)]
    wanted = [*(image[-1] for image in layers), *(layer for image in layers for layer in image[:-1])]
    return list({blob.digest: blob for blob in wanted}.values())
