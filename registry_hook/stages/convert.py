"""Converts an image into the spool."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Final

from converter.image import convert_image
from converter.oci import Descriptor
from registry_hook import spool
from registry_hook.errors import JobFailed
from registry_hook.jobs.model import JsonObject
from registry_hook.requests import ConversionRequest
from registry_hook.services import Services
from registry_hook.spool import SpooledImage
from registry_hook.stages.begin import source_image
from registry_hook.stages.outside import translated
from registry_hook.state import make_private

# What no image config reaches; Distribution takes manifests up to the same size.
MAX_CONFIG_BYTES: Final = 4 * 1024 * 1024


def convert(services: Services, request: ConversionRequest, directory: Path) -> JsonObject:
    """Converts the source, if the spool does not hold the result already.

    Returns:
        `digest` of the converted image, facts for people, and `finished`: when it was done.
    """
    image = spooled(services, request, directory)
    return {"digest": str(image.manifest.digest), **image.counts, "finished": services.now()}


def spooled(services: Services, request: ConversionRequest, directory: Path) -> SpooledImage:
    """The converted image: from the spool, or made again, which gives the same bytes.

    A later step finds the spool empty when the job moved to another machine, or when the disk was replaced.
    """
    kept = spool.load(directory)
    if kept is not None:
        return kept
    source = source_image(services, request)
    with translated(reads_source=True):
        _make_empty(directory)
        config = _read_config(services, request.repository, source.config)
        converted = convert_image(
            source,
            config,
            partial(services.registry.open_blob, request.repository),
            directory,
            services.options,
            subject=source.descriptor,
        )
        return spool.save(converted, directory, services.options)


def _read_config(services: Services, repository: str, config: Descriptor) -> bytes:
    if config.size > MAX_CONFIG_BYTES:
        raise JobFailed(
            f"the image config has {config.size} bytes, over the limit of {MAX_CONFIG_BYTES}", bad_input=True
        )
    with services.registry.open_blob(repository, config) as stream:
        return stream.read()


def _make_empty(directory: Path) -> None:
    """Makes the directory, or removes what a try that was killed left in it."""
    make_private(directory.parent)
    make_private(directory)
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
