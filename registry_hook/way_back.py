"""From a Nydus image back to files or to a plain image: what `unpack`, `export`, `mount` share."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from converter.classify import Kind, classify
from converter.errors import UnsupportedImageError
from converter.export import export_image
from converter.nydus_image import NydusImage, describe_other
from converter.oci import Descriptor, ImageManifest, Platform
from converter.progress import Progress
from registry_hook.chosen_images import is_for
from registry_hook.transports import ImageSink, ImageSource


def open_nydus_image(source: ImageSource, platform: Platform | None) -> NydusImage:
    """Opens the Nydus image that a reference means; a context manager.

    Args:
        source: the image, or an index.
        platform: which one of an index; None if it has only one.

    Raises:
        UnsupportedImageError: there is none, or not just one.
        ConvertError: it is damaged.
    """
    manifest = source.manifest()
    if isinstance(manifest, ImageManifest):
        return NydusImage(source, manifest)
    found, others = [], []
    for entry in manifest.manifests:
        child = source.manifest(entry.digest)
        if isinstance(child, ImageManifest) and classify(child) is Kind.NYDUS:
            found.append((entry, child))
        elif isinstance(child, ImageManifest) and classify(child) is Kind.EROFS:
            others.append(child)
    offered = ", ".join(str(entry.platform) for entry, _ in found)
    chosen = [child for entry, child in found if platform is None or is_for(entry, [platform])]
    if not chosen:
        if others and not found:
            raise UnsupportedImageError(
                f"the index {manifest.digest} has no Nydus image, but {others[0].digest}, which is "
                f"{describe_other(others[0])}"
            )
        wanted = f" for {platform}, only for {offered}" if found else ""
        raise UnsupportedImageError(f"the index {manifest.digest} has no Nydus image{wanted}")
    if len(chosen) > 1:
        raise UnsupportedImageError(
            f"the index {manifest.digest} has {len(chosen)} Nydus images that can be meant; choose one by "
            f"--platform out of {offered}"
        )
    return NydusImage(source, chosen[0])


def export_one(
    source: ImageSource, sink: ImageSink, platform: Platform | None, progress: Progress, work_dir: Path | None
) -> Descriptor:
    """Writes the plain image that a Nydus image was, in one layer.

    Args:
        source: the Nydus image.
        sink: where the plain one goes; nothing of it before all of it is made.
        platform: as for `open_nydus_image`.
        progress: told how far it is.
        work_dir: where to keep the layer meanwhile; None takes the system's temporary directory.

    Raises:
        See `export_image`, and whatever the transports raise.
    """
    with (
        TemporaryDirectory(prefix="dragonhook-", dir=work_dir) as work,
        open_nydus_image(source, platform) as image,
    ):
        exported = export_image(image, Path(work), progress)
        sink.put_blob(exported.layer, exported.path)
        sink.put_blob(exported.manifest.config, exported.config)
        return sink.publish(exported.manifest.raw, exported.manifest.media_type)
