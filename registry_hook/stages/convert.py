"""Converts an image into the spool."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from converter.chunk_manifest import BlobChunks
from converter.image import convert_image
from converter.oci import Descriptor, Digest
from converter.platforms import platform_of
from registry_hook import spool
from registry_hook.jobs.model import JsonObject
from registry_hook.requests import ConversionRequest
from registry_hook.services import Services
from registry_hook.spool import SpooledImage, SpooledLoan
from registry_hook.stages.begin import source_config, source_image
from registry_hook.stages.dictionary import open_dictionary, pinned
from registry_hook.stages.outside import translated
from registry_hook.state import make_private

_COPY_BYTES: Final = 1 << 20


def convert(services: Services, request: ConversionRequest, begun: JsonObject, directory: Path) -> JsonObject:
    """Converts the source, if the spool does not hold the result already.

    Returns:
        `digest` and `platform` of the converted image, facts for people, and `finished`: when it was done.
    """
    image = spooled(services, request, begun, directory)
    return {
        "digest": str(image.manifest.digest),
        "platform": str(platform_of(image.config)),
        **image.counts,
        "finished": services.now(),
    }


def spooled(
    services: Services, request: ConversionRequest, begun: JsonObject, directory: Path
) -> SpooledImage:
    """The converted image: from the spool, or made again, which gives the same bytes.

    A later step finds the spool empty when the job moved to another machine, or when the disk was replaced.
    """
    kept = spool.load(directory)
    if kept is not None:
        return kept
    source = source_image(services, request)
    config = source_config(services, request.repository, source)
    shared = open_dictionary(services, request.repository, pinned(begun))
    with translated(reads_source=True):
        _make_empty(directory)
        converted = convert_image(
            source,
            config,
            partial(services.registry.open_blob, request.repository),
            directory,
            services.options,
            subject=source.descriptor,
            dictionary=shared.dictionary if shared else None,
        )
    with translated():
        borrowed = [
            _borrowed(services, request.repository, blob.descriptor, shared.chunks, directory)
            for blob in converted.borrowed
            if shared is not None
        ]
        return spool.save(converted, directory, services.options, borrowed)


def _borrowed(
    services: Services,
    repository: str,
    descriptor: Descriptor,
    chunks: Mapping[Digest, BlobChunks],
    directory: Path,
) -> SpooledLoan:
    """Fetches the chunk list of a blob that the image borrows: it is signed for this image, too."""
    known = chunks[descriptor.digest]
    path = directory / f"{descriptor.digest.hex}.chunklist"
    with services.registry.open_blob(repository, known.chunk_list) as stream, path.open("wb") as file:
        shutil.copyfileobj(stream, file, _COPY_BYTES)
    return SpooledLoan(descriptor, known, path)


def _make_empty(directory: Path) -> None:
    """Makes the directory, or removes what a try that was killed left in it."""
    make_private(directory.parent)
    make_private(directory)
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
