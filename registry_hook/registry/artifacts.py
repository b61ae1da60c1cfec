"""Pushes and pulls artifacts (chunk lists, bundles) with the oras library.

Owns oras. The library knows the steps; what it does not do is done here (docs/adr/0041): digests and sizes
are checked, manifests are the exact bytes given, and its requests go through our session, so that one set of
credentials, TLS settings and redirect rules holds. Its own retries (131 seconds of sleep, even after a
refused password) are taken out. Its client keeps state, so each call here has one of its own.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import oras.container  # type: ignore[import-untyped]  # oras ships no types
import oras.provider  # type: ignore[import-untyped]

from converter.oci import Descriptor, Digest, ImageManifest, media_types, parse_manifest
from registry_hook.registry.client import RegistryClient
from registry_hook.registry.errors import DigestMismatchError, ProtocolError
from registry_hook.registry.oras_adapter import HOST, SessionAdapter
from registry_hook.registry.verified import ONCE, open_verified, open_verified_local

_PIECE_BYTES: Final = 8 * 1024 * 1024  # of one request; oras holds a piece in memory
_READ_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class PulledArtifact:
    """An artifact on the local disk.

    Args:
        manifest: its manifest.
        files: the file of each layer, by digest.
    """

    manifest: ImageManifest
    files: Mapping[Digest, Path]


def push_artifact(
    client: RegistryClient,
    repository: str,
    tag: str,
    manifest: ImageManifest,
    blobs: Iterable[tuple[Descriptor, Path | bytes]],
) -> bool:
    """Pushes the blobs of an artifact, and then its manifest under a tag.

    Args:
        client: the registry.
        repository: where to.
        tag: name of the artifact; every artifact has one, or garbage collection takes it (signing.md T5).
        manifest: its raw bytes are pushed as they are.
        blobs: config and layers; those that the repository has are not sent again.

    Returns:
        Whether the registry lists it as a referrer itself (it sent `OCI-Subject`).

    Raises:
        DigestMismatchError, SizeMismatchError: a blob is not what its descriptor says; it was not sent.
        RegistryError: as for RegistryClient.
    """
    provider = _provider(client, repository)
    container = oras.container.Container(f"{HOST}/{repository}:{tag}")
    for descriptor, source in blobs:
        with _checked_file(descriptor, source) as path:
            client.retry.run(partial(_upload, provider, container, descriptor, path))
    response = provider.do_request(
        f"https://{container.manifest_url()}",
        "PUT",
        data=manifest.raw,
        headers={"Content-Type": manifest.media_type},
    )
    stored = response.headers.get("Docker-Content-Digest")
    if stored not in (None, str(manifest.digest)):
        raise DigestMismatchError(
            f"manifest {repository}:{tag} as stored", manifest.digest, Digest.parse(stored)
        )
    return "OCI-Subject" in response.headers


def pull_artifact(client: RegistryClient, repository: str, reference: str, directory: Path) -> PulledArtifact:
    """Pulls an artifact into a directory.

    Args:
        client: the registry.
        repository: where from.
        reference: tag or digest.
        directory: gets a file for each layer, named by the hexadecimal digest: titles come from outside and
            are no file names.

    Raises:
        DigestMismatchError, SizeMismatchError: a file is not what its descriptor says; it is not left.
        NotFoundError: there is no such artifact.
        ProtocolError: it is an index.
        RegistryError: as for RegistryClient.
    """
    provider = _provider(client, repository)
    container = oras.container.Container(f"{HOST}/{repository}")
    manifest = _pull_manifest(provider, container, repository, reference)
    files = {}
    for layer in manifest.layers:
        files[layer.digest] = directory / layer.digest.hex
        client.retry.run(partial(_download, provider, container, layer, files[layer.digest]))
    return PulledArtifact(manifest, files)


def _provider(client: RegistryClient, repository: str) -> oras.provider.Registry:
    provider = oras.provider.Registry(hostname=HOST)
    provider.session.mount("https://", SessionAdapter(client.session, repository))
    provider.session.trust_env = False
    # The method without the decorator that repeats it: retry.py does that.
    provider.do_request = partial(inspect.unwrap(oras.provider.Registry.do_request), provider)
    return provider


@contextmanager
def _checked_file(descriptor: Descriptor, source: Path | bytes) -> Iterator[Path]:
    """A file with content that was checked; oras reads from nothing else."""
    with open_verified_local(descriptor, source) as stream:
        while stream.read(_READ_BYTES):
            pass
    if isinstance(source, Path):
        yield source
        return
    with tempfile.NamedTemporaryFile(prefix="dragonhook-") as file:
        file.write(source)
        file.flush()
        yield Path(file.name)


def _upload(
    provider: oras.provider.Registry, container: oras.container.Container, descriptor: Descriptor, path: Path
) -> None:
    layer = {"digest": str(descriptor.digest), "size": descriptor.size, "mediaType": descriptor.media_type}
    provider.upload_blob(
        str(path), container, layer, do_chunked=descriptor.size > _PIECE_BYTES, chunk_size=_PIECE_BYTES
    )


def _pull_manifest(
    provider: oras.provider.Registry, container: oras.container.Container, repository: str, reference: str
) -> ImageManifest:
    response = provider.do_request(
        f"https://{container.manifest_url(reference)}", headers={"Accept": media_types.OCI_MANIFEST}
    )
    raw = response.content
    what, actual = f"artifact {repository}:{reference}", Digest.of(raw)
    expected = reference if ":" in reference else response.headers.get("Docker-Content-Digest", str(actual))
    if expected != str(actual):
        raise DigestMismatchError(what, Digest.parse(expected), actual)
    manifest = parse_manifest(raw, response.headers.get("Content-Type"))
    if not isinstance(manifest, ImageManifest):
        raise ProtocolError(f"{what} is an index")
    return manifest


def _download(
    provider: oras.provider.Registry, container: oras.container.Container, layer: Descriptor, path: Path
) -> None:
    @contextmanager
    def open_at(_: int) -> Iterator[Iterator[bytes]]:
        with closing(provider.get_blob(container, str(layer.digest), stream=True)) as response:
            yield response.iter_content(_READ_BYTES)

    try:
        with (
            closing(open_verified(f"blob {layer.digest}", layer, open_at, ONCE)) as stream,
            path.open("wb") as file,
        ):
            while piece := stream.read(_READ_BYTES):
                file.write(piece)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
