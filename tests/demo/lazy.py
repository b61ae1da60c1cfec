"""Runs a program from a converted image that is mounted, not unpacked."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Final

import httpx

from converter.oci import Digest, ImageManifest, media_types, parse_manifest
from tests.peers.mounts import erofs_mount, nydusd_mount, registry_backend
from tests.peers.programs import run_command

_BOOTSTRAP_NAME: Final = "image/image.boot"


def run_from_nydusd(host: str, repository: str, image: ImageManifest, work: Path, program: str) -> str:
    """Mounts an image of a registry with nydusd, and runs Python code in it.

    Args:
        host: the registry.
        repository: repository of the converted image.
        image: its manifest.
        work: an empty directory.
        program: the code, for the image's own Python.

    Returns:
        What it printed.
    """
    bootstrap = fetch_bootstrap(host, repository, image, work)
    with nydusd_mount(bootstrap, registry_backend(host, repository), work / "nydusd") as root:
        return _run_in(root, program)


def run_from_kernel(layout: Path, work: Path, program: str) -> str:
    """Mounts a kernel-mountable image with the kernel's EROFS driver, and runs Python code in it.

    Args:
        layout: OCI layout with this one image.
        work: an empty directory.
        program: the code, for the image's own Python.

    Returns:
        What it printed.
    """
    *data, last = (layout_blob(layout, layer.digest) for layer in layout_image(layout).layers)
    bootstrap = _write_bootstrap(last.read_bytes(), work)
    mountpoint = work / "mnt"
    mountpoint.mkdir()
    with erofs_mount(bootstrap, data, mountpoint) as root:
        return _run_in(root, program)


def fetch_bootstrap(host: str, repository: str, image: ImageManifest, directory: Path) -> Path:
    """Downloads the bootstrap of a registry's image, and unpacks it from its layer into a directory."""
    blob = f"http://{host}/v2/{repository}/blobs/{image.layers[-1].digest}"
    return _write_bootstrap(httpx.get(blob, follow_redirects=True).raise_for_status().content, directory)


def registry_image(host: str, repository: str, tag: str) -> ImageManifest:
    """The manifest of a registry's image."""
    url = f"http://{host}/v2/{repository}/manifests/{tag}"
    answer = httpx.get(url, headers={"Accept": media_types.OCI_MANIFEST})
    return _image(answer.raise_for_status().content)


def layout_image(layout: Path) -> ImageManifest:
    """The manifest of the one image of an OCI layout."""
    index = json.loads((layout / "index.json").read_bytes())
    return _image(layout_blob(layout, Digest.parse(index["manifests"][0]["digest"])).read_bytes())


def _image(raw: bytes) -> ImageManifest:
    manifest = parse_manifest(raw)
    if not isinstance(manifest, ImageManifest):
        raise TypeError(f"{manifest.digest} is an index")
    return manifest


def layout_blob(layout: Path, digest: Digest) -> Path:
    """The file of a blob of an OCI layout."""
    return layout / "blobs/sha256" / digest.hex


def _write_bootstrap(layer: bytes, work: Path) -> Path:
    """Unpacks the bootstrap from its layer, the last one of a Nydus image."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as tar:
        member = tar.extractfile(_BOOTSTRAP_NAME)
        if member is None:
            raise TypeError(f"{_BOOTSTRAP_NAME} is not a file")
        path = work / "image.boot"
        path.write_bytes(member.read())
    return path


def _run_in(root: Path, program: str) -> str:
    return run_command(["chroot", str(root), "/usr/bin/python3", "-c", program]).strip()
