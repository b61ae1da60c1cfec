"""Finds out what a reference or a file is, and counts what is in it: `dragonhook inspect`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from converter.blob import BlobReader
from converter.classify import Kind, classify
from converter.errors import BlobError, BootstrapError, UnsupportedImageError
from converter.inspection.figures import (
    BlobFileFigures,
    BootstrapFigures,
    LayerFigures,
    describe_blob_file,
    describe_bootstrap,
    describe_layers,
)
from converter.nydus_image import NydusImage, describe_other
from converter.oci import Descriptor, Digest, ImageIndex, Manifest, media_types
from converter.rafs.layout import SUPERBLOCK_OFFSET
from converter.rafs.reader import rafs_version, read_bootstrap
from converter.rafs.records import MAGIC
from registry_hook.transports import ImageSource
from signer.attach import ANNOTATION_KEY_HINT, ANNOTATION_PREDICATE_TYPE

_MAX_BOOTSTRAP_FILE = 1 << 30


@dataclass(frozen=True, slots=True)
class Attached:
    """Something that refers to an image: a signature, an attestation, or anything else.

    Args:
        digest: of its manifest.
        type: predicate type of a bundle, `converted image` or `image` for an image, else the artifact type.
        key_hint: of the key that signed it, as it says itself. Nothing is verified here.
    """

    digest: str
    type: str
    key_hint: str | None


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found.

    Args:
        name: what was asked for; of an image of an index its platform.
        kind: of `converter.classify.Kind`, or `bootstrap` or `blob` for a file.
        digest: of the manifest; None for a file.
        size: of the manifest or the file.
        media_type: of the manifest.
        source: digest of the image that it was converted from, as it says itself.
        layers: of an image.
        bootstrap: of a Nydus image, or the file.
        blob: the file.
        attached: what refers to it; None if that was not looked for.
        images: of an index.
    """

    name: str
    kind: str
    size: int
    digest: str | None = None
    media_type: str | None = None
    source: str | None = None
    layers: tuple[LayerFigures, ...] = ()
    bootstrap: BootstrapFigures | None = None
    blob: BlobFileFigures | None = None
    attached: tuple[Attached, ...] | None = None
    images: tuple[Inspected, ...] = ()


Referrers: TypeAlias = Callable[[Digest], Sequence[Descriptor]]


def inspect_image(source: ImageSource, name: str, referrers: Referrers | None = None) -> Inspected:
    """Inspects an image, or an index with all its images.

    Args:
        source: where it is.
        name: what to call it.
        referrers: finds what refers to a manifest.

    Raises:
        ConvertError: it is a Nydus image that breaks the format.
        TransportError, RegistryError: something cannot be read.
    """
    return _inspect(source, name, source.manifest(), referrers)


def inspect_file(path: Path) -> Inspected:
    """Inspects a bootstrap or a blob.

    Raises:
        BootstrapError, BlobError: it is none, or breaks the format.
        OSError: it cannot be read.
    """
    with naming(path), path.open("rb") as file:
        if is_bootstrap(file):
            data = read_bootstrap_file(file)
            return Inspected(
                str(path), "bootstrap", len(data), bootstrap=describe_bootstrap(read_bootstrap(data))
            )
        reader = BlobReader(file)
        return Inspected(str(path), "blob", reader.size, blob=describe_blob_file(reader))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the name of the file in front of errors about what is in it."""
    try:
        yield
    except (BlobError, BootstrapError) as error:
        raise type(error)(f"{path}: {error}") from error


def is_bootstrap(file: BinaryIO) -> bool:
    """Whether a file begins as bootstraps do; if not, it may be a blob."""
    file.seek(0)
    head = file.read(SUPERBLOCK_OFFSET + 4)
    return rafs_version(head) == 5 or head[SUPERBLOCK_OFFSET:] == MAGIC.to_bytes(4, "little")


def read_bootstrap_file(file: BinaryIO) -> bytes:
    """Reads a file that is a bootstrap.

    Raises:
        BlobError: it is too large to be one.
    """
    file.seek(0)
    data = file.read(_MAX_BOOTSTRAP_FILE + 1)
    if len(data) > _MAX_BOOTSTRAP_FILE:
        raise BlobError(f"the file has more than {_MAX_BOOTSTRAP_FILE} bytes, too many for a bootstrap")
    return data


def nydus_images(source: ImageSource) -> Iterator[tuple[str, NydusImage]]:
    """The Nydus images that a reference means, each with its name, open while the caller has it.

    Raises:
        UnsupportedImageError: there is none.
        ConvertError: one breaks the format.
    """
    manifest = source.manifest()
    if isinstance(manifest, ImageIndex):
        others = None
        count = 0
        for entry in manifest.manifests:
            child = source.manifest(entry.digest)
            if isinstance(child, ImageIndex):
                continue
            if classify(child) is Kind.NYDUS:
                with NydusImage(source, child) as image:
                    yield str(entry.platform or entry.digest), image
                count += 1
            else:
                others = child
        if not count:
            what = f"; {others.digest} is {describe_other(others)}" if others else ""
            raise UnsupportedImageError(f"the index {manifest.digest} has no Nydus image{what}")
        return
    with NydusImage(source, manifest) as image:
        yield str(manifest.digest), image


def _inspect(source: ImageSource, name: str, manifest: Manifest, referrers: Referrers | None) -> Inspected:
    kind = classify(manifest)
    bootstrap = None
    images: tuple[Inspected, ...] = ()
    if isinstance(manifest, ImageIndex):
        images = tuple(
            _inspect(source, str(entry.platform or entry.digest), child, referrers)
            for entry in manifest.manifests
            if not isinstance(child := source.manifest(entry.digest), ImageIndex)
        )
    elif kind is Kind.NYDUS:
        with NydusImage(source, manifest) as image:
            bootstrap = describe_bootstrap(image.bootstrap, manifest)
    return Inspected(
        name=name,
        kind=_index_kind(kind, images) if isinstance(manifest, ImageIndex) else kind.value,
        size=manifest.size,
        digest=str(manifest.digest),
        media_type=manifest.media_type,
        source=manifest.annotations.get(media_types.ANNOTATION_SOURCE_DIGEST),
        layers=() if isinstance(manifest, ImageIndex) else describe_layers(manifest),
        bootstrap=bootstrap,
        attached=None if referrers is None else tuple(map(_attached, referrers(manifest.digest))),
        images=images,
    )


def _index_kind(kind: Kind, images: Sequence[Inspected]) -> str:
    """What an index is. Both forms of converted ones carry the same annotation, so the images tell."""
    if kind is not Kind.NYDUS:
        return str(kind.value)
    kinds = {image.kind for image in images}
    return "erofs index" if Kind.EROFS.value in kinds and Kind.NYDUS.value not in kinds else "nydus index"


def _attached(entry: Descriptor) -> Attached:
    predicate = entry.annotations.get(ANNOTATION_PREDICATE_TYPE)
    kind: str = predicate or entry.artifact_type or entry.media_type
    # A manifest without an artifact type stands among the referrers with the media type of its config.
    if kind in media_types.IMAGE_CONFIG_TYPES:
        is_conversion = media_types.ANNOTATION_SOURCE_DIGEST in entry.annotations
        kind = "converted image" if is_conversion else "image"
    return Attached(str(entry.digest), kind, entry.annotations.get(ANNOTATION_KEY_HINT))
