"""The command that says what an image, a bootstrap or a blob is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from converter.blob import BlobReader
from converter.inspection.blob_dump import dump_blob
from converter.inspection.dump import dump_bootstrap
from converter.inspection.figures import BlobFileFigures, BootstrapFigures, LayerFigures
from converter.oci import Descriptor, Digest, Reference, media_types
from registry_hook.cli.clients import Clients, client_options
from registry_hook.cli.errors import errors_in_one_line
from registry_hook.inspecting import (
    Inspected,
    inspect_file,
    inspect_image,
    is_bootstrap,
    naming,
    nydus_images,
    read_bootstrap_file,
)
from registry_hook.transports import ImageSource, InvalidLocationError, open_source
from registry_hook.transports.location import parse_location
from signer.simple_signing import signature_tag

_STATUS: Final = """\b
Exit status:
  0  done
  1  it is damaged, of a kind that is not supported, or cannot be read
  2  wrong command line
"""


@click.command(epilog=_STATUS)
@click.argument("reference", metavar="REF")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--dump", is_flag=True, help="Print each record of bootstrap and blobs with its offset and length."
)
@client_options
def inspect(reference: str, as_json: bool, dump: bool, clients: Clients) -> None:
    """Say what REF is: an image, or the file of a bootstrap or blob.

    Images are named as for convert. Of Nydus images, of whichever converter, the figures are those of the
    bootstrap; nothing is verified but that it keeps to the format. Of an image in a registry it is told what
    refers to it, like signatures.
    """
    if as_json and dump:
        raise click.UsageError("--json and --dump exclude each other")
    with errors_in_one_line(clients):
        path = _file(reference)
        if path is not None:
            lines = dump_file(path) if dump else _report(inspect_file(path), as_json=as_json)
            _print(lines)
            return
        with open_source(reference, clients) as source:
            if dump:
                _print(dump_image(source))
            else:
                referrers = _referrers(reference, clients)
                _print(_report(inspect_image(source, reference, referrers), as_json=as_json))


def dump_file(path: Path) -> Iterator[str]:
    """The lines of a bootstrap or a blob in a file."""
    with naming(path), path.open("rb") as file:
        if is_bootstrap(file):
            yield from dump_bootstrap(read_bootstrap_file(file))
        else:
            yield from dump_blob(BlobReader(file))


def dump_image(source: ImageSource) -> Iterator[str]:
    """The lines of the bootstraps and data blobs of all Nydus images that a reference means."""
    for name, image in nydus_images(source):
        yield f"# {name}: bootstrap in {image.manifest.layers[-1].digest}"
        yield from dump_bootstrap(image.layer.bootstrap)
        for layer in image.manifest.layers[:-1]:
            yield f"# {name}: {layer.digest}"
            with source.open_seekable(layer) as file:
                yield from dump_blob(BlobReader(file))


def describe(found: Inspected) -> Iterator[str]:
    """The figures for people."""
    yield f"{found.name}: {found.kind}"
    if found.digest is not None:
        yield f"  manifest {found.digest}, {found.media_type}, {found.size} bytes"
    if found.source is not None:
        yield f"  made from {found.source}"
    for layer in found.layers:
        yield _layer(layer)
    if found.bootstrap is not None:
        yield from _bootstrap(found.bootstrap)
    if found.blob is not None:
        yield from _blob_file(found.blob)
    for attached in found.attached or ():
        key = f", key {attached.key_hint}" if attached.key_hint else ""
        digest = f" {attached.digest}" if attached.type.endswith("image") else ""
        yield f"  attached: {attached.type}{digest}{key}"
    if found.attached == ():
        yield "  attached: nothing"
    for image in found.images:
        yield from (f"  {line}" for line in describe(image))


def _layer(layer: LayerFigures) -> str:
    more = f", borrowed from {layer.borrowed_from}" if layer.borrowed_from else ""
    more += f", an index of {layer.index_of}" if layer.index_of else ""
    return f"  {layer.role} {layer.digest}, {layer.media_type}, {layer.size} bytes{more}"


def _bootstrap(figures: BootstrapFigures) -> Iterator[str]:
    yield (
        f"  RAFS v{figures.rafs_version}, {figures.compressor}, {figures.digester}, chunks of"
        f" {figures.chunk_size} bytes{'' if figures.has_owners else ', owners left out'}"
    )
    yield f"  {figures.names} names: " + ", ".join(
        f"{count} {kind}" for kind, count in figures.inodes.items()
    )
    for blob in figures.blobs:
        ratio = "" if blob.ratio is None else f" ({100 * blob.ratio:.1f} %)"
        yield (
            f"  blob {blob.index} {blob.id}: {blob.used_chunks} of {blob.chunks} chunks in use,"
            f" {blob.used_stored_size} bytes for {blob.used_size}{ratio}"
        )
        yield f"    {blob.stored_size} bytes in all; {', '.join(blob.features)}"
        if blob.borrowed_from:
            yield f"    borrowed from {blob.borrowed_from}"
        if blob.is_listed is False:
            yield "    not listed by the manifest"
    sharing = figures.sharing
    borrowed = sum(lender.bytes for lender in sharing.lenders if lender.image)
    more = f", {borrowed} borrowed from other images" if borrowed else ""
    yield (
        f"  sharing: {sharing.references} uses of {sharing.chunks} chunks, {sharing.file_bytes} bytes of"
        f" files in {sharing.distinct_bytes} bytes of content: {sharing.saved_bytes} saved in it{more}"
    )
    for lender in sharing.lenders:
        whose = f"with {lender.image}" if lender.image else "with no other image"
        yield (
            f"    {whose}: {lender.chunks} chunks in {lender.blobs} blobs,"
            f" {lender.stored_bytes} bytes for {lender.bytes}"
        )
    yield "  prefetch: " + (" ".join(figures.prefetch) or "nothing")


def _blob_file(figures: BlobFileFigures) -> Iterator[str]:
    yield f"  {figures.size} bytes, {figures.framing}"
    for section in figures.sections:
        elsewhere = f", {section.elsewhere} bytes in another blob" if section.elsewhere else ""
        yield f"  {section.name} at {section.offset}, {section.size} bytes{elsewhere}"
    if figures.chunk_info_version is not None:
        yield (
            f"  {figures.chunks} chunks, {figures.stored_size} bytes for {figures.content_size};"
            f" chunk info v{figures.chunk_info_version}, {', '.join(figures.features or ())}"
        )
    if figures.inflate_contexts:
        yield f"  {figures.inflate_contexts} inflate contexts for a gzip layer"
    if figures.bootstrap is not None:
        yield "  bootstrap inside:"
        yield from (f"  {line}" for line in _bootstrap(figures.bootstrap))


def _report(found: Inspected, *, as_json: bool) -> Iterator[str]:
    if as_json:
        yield json.dumps(asdict(found), indent=2)
    else:
        yield from describe(found)


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(line)


def _file(reference: str) -> Path | None:
    """The file that is meant, unless it is the name of an image."""
    try:
        parse_location(reference)
    except InvalidLocationError:
        path = Path(reference)
        if path.is_file():
            return path
        raise
    return None


def _referrers(reference: str, clients: Clients) -> Callable[[Digest], Sequence[Descriptor]] | None:
    """What finds the referrers of a manifest of a registry, and its classic signature, which is none."""
    place = parse_location(reference)
    if not isinstance(place, Reference):
        return None
    client, repository = clients(place.host), place.repository

    def find(digest: Digest) -> Sequence[Descriptor]:
        found = client.referrers(repository, digest)
        signature = client.resolve(repository, signature_tag(digest))
        if signature is None:
            return found
        kind = media_types.COSIGN_SIMPLE_SIGNING
        return [
            *found,
            Descriptor(signature.media_type, signature.digest, signature.size, artifact_type=kind),
        ]

    return find
