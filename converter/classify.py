"""What a manifest is, told from its content: tags and names can say anything."""

from __future__ import annotations

from enum import Enum
from typing import Final

from converter.errors import UnsupportedImageError
from converter.oci import Descriptor, ImageIndex, ImageManifest, Manifest, media_types

_OTHER_LAYER_PREFIXES: Final = (
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
)


class Kind(Enum):
    """What to do with a manifest; see `described` for sentences."""

    IMAGE = "image"
    """An image of tar layers: convert it."""
    INDEX = "index"
    """A list of images: convert each one that is an image."""
    NYDUS = "nydus"
    """A Nydus image, our own product or somebody else's: nothing to do."""
    EROFS = "an image of EROFS file systems"
    """What Linux mounts as it is, ours (`converter.one_file`) or somebody else's: nothing to do."""
    ARTIFACT = "artifact"
    """A signature, an SBOM, a chart, a list of referrers …: nothing to do."""
    FOREIGN = "an image with layers that may not be distributed"
    """Its owner has to say that they may be converted; else it is kept as it is."""
    UNSUPPORTED = "unsupported"
    """An image with layers that cannot be read here: encrypted ones, or of types not known here."""

    @property
    def described(self) -> str:
        """What it is, with an article."""
        return _DESCRIBED.get(self, self.value)


def classify(manifest: Manifest) -> Kind:
    """Tells what a manifest is.

    Sources: OCI image spec 1.1 manifest.md ("Guidelines for Artifact Usage") and image-index.md;
    docs/nydus-image.md §1.3 and §1.7 for the marks of Nydus images.
    """
    if isinstance(manifest, ImageIndex):
        return _classify_index(manifest)
    if any(_is_nydus_layer(layer) for layer in manifest.layers):
        return Kind.NYDUS
    if manifest.artifact_type or manifest.subject or manifest.config.media_type not in _IMAGE_CONFIGS:
        return Kind.ARTIFACT
    types = [layer.media_type for layer in manifest.layers]
    if any(media_type.partition("+")[0] == media_types.EROFS_LAYER for media_type in types):
        return Kind.EROFS
    if all(media_type in media_types.LAYER_TYPES for media_type in types):
        return Kind.IMAGE
    if all(media_type in _WITH_FOREIGN for media_type in types):
        return Kind.FOREIGN
    if all(media_type.startswith(_OTHER_LAYER_PREFIXES) for media_type in types):
        return Kind.UNSUPPORTED
    return Kind.ARTIFACT


def check_convertible(manifest: Manifest, *, include_foreign: bool) -> None:
    """Checks that a manifest is an image that can be converted.

    Args:
        manifest: of the source.
        include_foreign: whether layers that may not be distributed are converted, too.

    Raises:
        UnsupportedImageError: it is not; the message says what it is, or names the layer.
    """
    kind = classify(manifest)
    if kind is Kind.IMAGE or (kind is Kind.FOREIGN and include_foreign):
        return
    if kind in _CONVERTED:
        raise UnsupportedImageError(f"{manifest.digest} is {_converted(manifest, kind)}")
    if kind is not Kind.FOREIGN or not isinstance(manifest, ImageManifest):
        raise UnsupportedImageError(f"{manifest.digest} is not an image of tar layers but {kind.described}")
    number, layer = next(
        (number, layer) for number, layer in enumerate(manifest.layers, 1) if is_foreign_layer(layer)
    )
    places = f", which is at {layer.urls[0]:.200}" if layer.urls else ""
    raise UnsupportedImageError(
        f"{manifest.digest} stays as it is: its layer {number} of {len(manifest.layers)} "
        f"({layer.digest}{places}) may not be distributed, and a converted image would hold its content"
    )


def _converted(manifest: Manifest, kind: Kind) -> str:
    what = "a Nydus image" if kind is Kind.NYDUS else "an EROFS image"
    if isinstance(manifest, ImageIndex):
        what = "an index of converted images"
    source = manifest.annotations.get(media_types.ANNOTATION_SOURCE_DIGEST)
    return f"{what} already" + (f", made from {source:.200}: name that instead" if source else "")


def is_foreign_layer(layer: Descriptor) -> bool:
    """Whether a layer says that it may not be distributed."""
    return layer.media_type in media_types.FOREIGN_LAYER_TYPES


def is_image_entry(entry: Descriptor) -> bool:
    """Whether an entry of an index can be an image to convert: neither an artifact nor a Nydus image.

    BuildKit puts attestations beside images, for a platform that does not exist.
    """
    if entry.artifact_type or entry.media_type not in media_types.MANIFEST_TYPES or is_nydus_entry(entry):
        return False
    return entry.platform is None or entry.platform.os != "unknown"


def is_nydus_entry(entry: Descriptor) -> bool:
    """Whether an entry of an index is marked as the Nydus form of another, by us or by nydus."""
    features = entry.platform.os_features if entry.platform else ()
    return entry.artifact_type == media_types.NYDUS_MANIFEST or _NYDUS_OS_FEATURE in features


_DESCRIBED: Final = {
    Kind.IMAGE: "an image of tar layers",
    Kind.INDEX: "an index",
    Kind.NYDUS: "a Nydus image",
    Kind.ARTIFACT: "an artifact, like a signature or a chart",
    Kind.UNSUPPORTED: "an image with layers of types that are not known here",
}
_CONVERTED: Final = (Kind.NYDUS, Kind.EROFS)
_WITH_FOREIGN: Final = (*media_types.LAYER_TYPES, *media_types.FOREIGN_LAYER_TYPES)
_IMAGE_CONFIGS: Final = media_types.IMAGE_CONFIG_TYPES
_NYDUS_OS_FEATURE: Final = "nydus.remoteimage.v1"  # how nydus marked index entries up to 2.3.5


def _classify_index(index: ImageIndex) -> Kind:
    # Its layers are out of sight here, and a converted index has a subject, as lists of referrers do.
    if media_types.ANNOTATION_SOURCE_DIGEST in index.annotations:
        return Kind.NYDUS
    if index.artifact_type or index.subject or not any(is_image_entry(entry) for entry in index.manifests):
        return Kind.ARTIFACT
    return Kind.INDEX


def _is_nydus_layer(layer: Descriptor) -> bool:
    marks = (media_types.ANNOTATION_NYDUS_BLOB, media_types.ANNOTATION_NYDUS_BOOTSTRAP)
    return layer.media_type == media_types.NYDUS_BLOB or any(mark in layer.annotations for mark in marks)
