"""From a Nydus image back to files or to a plain image: what `unpack`, `export`, `mount` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from converter.classify import Kind, classify
from converter.errors import UnsupportedImageError
from converter.export import export_image
from converter.nydus_image import NydusImage, describe_other
from converter.oci import Descriptor, ImageManifest, Platform
from converter.platforms import spell
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
    chosen = [(entry, child) for entry, child in found if platform is None or is_for(entry, [platform])]
    if not chosen:
        if others and not found:
            raise UnsupportedImageError(
                f"the index {manifest.digest} has no Nydus image, but {others[0].digest}, which is "
                f"{describe_other(others[0])}"
            )
        offered = ", ".join(_name(entry) for entry, _ in found)
        wanted = f" for {spell(platform)}, only for {offered}" if found and platform else ""
        raise UnsupportedImageError(f"the index {manifest.digest} has no Nydus image{wanted}")
    if len({child.digest for _, child in chosen}) > 1:
        raise UnsupportedImageError(
            f"the index {manifest.digest} has {len(chosen)} Nydus images that can be meant; "
            + _how_to_choose([entry for entry, _ in chosen])
        )
    return NydusImage(source, chosen[0][1])


def _how_to_choose(entries: Sequence[Descriptor]) -> str:
    """What to write instead, for people: platforms, unless one of them means several images."""
    names = {entry.digest: _name(entry) for entry in entries}
    meant = (
        {other.digest for other in entries if entry.platform and is_for(other, [entry.platform])}
        for entry in entries
    )
    if all(len(digests) == 1 for digests in meant):
        return "choose one by --platform out of " + ", ".join(map(_name, entries))
    return "name one by its digest: " + ", ".join(f"{name} ({digest})" for digest, name in names.items())


def _name(entry: Descriptor) -> str:
    return spell(entry.platform) if entry.platform else "no platform"


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
