"""What is measured of one image: converted, checked, mounted lazily from a registry, and run."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from converter.nydus_image import NydusImage
from converter.oci import ImageManifest
from registry_hook.cli.clients import Clients
from registry_hook.transports import open_source
from tests.demo.lazy import fetch_bootstrap, registry_image
from tests.peers.mounts import nydusd_mount, registry_backend
from tests.peers.programs import run_command, run_program
from tests.peers.registries import Registry
from tests.peers.stack import COMMAND
from tests.real_images.rootfs import overlay

TAG: Final = "nydus"
_TIMEOUT_S: Final = 600.0
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SENT: Final = re.compile(r"http\.request\.method=GET .*/blobs/sha256:.* http\.response\.written=(\d+)")
# A network and processes of its own, so that nothing can meet or outlive the program; and /proc, where the
# image has a place for it.
_ENTER: Final = (
    "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
    '[ ! -d "$0/proc" ] || mount -t proc proc "$0/proc"; exec chroot "$0" "$@"',
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """A converted image in a registry.

    Args:
        data: bytes of its data blobs.
        bootstrap: bytes of its bootstrap layer.
        names: files, directories and whatever else has a name in it.
        chunks: how many chunks its files are made of, all counted.
        content: bytes of these chunks.
        distinct: bytes of those among them that differ from each other.
    """

    data: int
    bootstrap: int
    names: int
    chunks: int
    content: int
    distinct: int


@dataclass(frozen=True)
class Run:
    """A program that ran from a lazy mount.

    Args:
        output: what it printed.
        fetched: bytes of data blobs that the registry sent until it had ended.
        seconds: from the start of nydusd on.
    """

    output: str
    fetched: int
    seconds: float


def convert(source: str, target: str, *options: str) -> None:
    """`dragonhook convert`.

    Raises:
        ProgramError: it failed.
    """
    run_command([str(COMMAND), "convert", *options, source, target], timeout_s=_TIMEOUT_S)


def check(source: str, host: str, repository: str, scratch: Path) -> None:
    """Holds a conversion against its source with `dragonhook check`, and shows it to `nydus-image check`.

    Raises:
        ProgramError: one of them found something.
    """
    target = f"docker://{host}/{repository}:{TAG}"
    run_command([str(COMMAND), "check", source, target], timeout_s=_TIMEOUT_S)
    bootstrap = fetch_bootstrap(host, repository, registry_image(host, repository, TAG), scratch)
    run_program("nydus-image", "check", "--bootstrap", bootstrap, timeout_s=_TIMEOUT_S)


def size(host: str, repository: str, tag: str = TAG) -> Size:
    """Reads what a converted image is made of."""
    with (
        Clients(None, None, None) as clients,
        open_source(f"docker://{host}/{repository}:{tag}", clients) as source,
        NydusImage(source, registry_image(host, repository, tag)) as image,
    ):
        *data, bootstrap = image.manifest.layers
        rows = image.bootstrap.chunks[image.chunk_rows]
        sizes = rows["uncompressed_size"].astype(np.int64)
        _, first = np.unique(rows["digest"], axis=0, return_index=True)
        return Size(
            data=sum(layer.size for layer in {layer.digest: layer for layer in data}.values()),
            bootstrap=bootstrap.size,
            names=image.bootstrap.name_count,
            chunks=len(rows),
            content=int(sizes.sum()),
            distinct=int(sizes[first].sum()),
        )


def stored_anew(image: ImageManifest, there: ImageManifest) -> int:
    """Bytes of data blobs that one image has and another has not."""
    known = {layer.digest for layer in there.layers}
    return sum(
        {layer.digest: layer.size for layer in image.layers[:-1] if layer.digest not in known}.values()
    )


def run_lazily(registry: Registry, repository: str, program: Sequence[str], scratch: Path) -> Run:
    """Mounts an image with nydusd, without prefetching, and runs a program in it.

    The mount is the lower directory of an overlay, as a container engine has it, so the program may write.

    Args:
        registry: has the image.
        repository: of it.
        program: with its arguments.
        scratch: an existing directory.

    Raises:
        ProgramError: nydusd or the program failed.
    """
    image = registry_image(registry.host, repository, TAG)
    bootstrap = fetch_bootstrap(registry.host, repository, image, scratch)
    before, started_s = _bytes_sent(registry), time.monotonic()
    backend = registry_backend(registry.host, repository)
    with (
        nydusd_mount(bootstrap, backend, scratch / "nydusd", validate=True) as mounted,
        overlay(mounted, scratch / "overlay") as (root, _),
    ):
        clean = ["env", "-i", f"PATH={_PATH}", "HOME=/root", "LC_ALL=C"]
        output = run_command([*clean, *_ENTER, str(root), *program], timeout_s=_TIMEOUT_S)
        seconds = time.monotonic() - started_s
        fetched = _bytes_sent(registry) - before
    return Run(output.strip(), fetched, seconds)


def _bytes_sent(registry: Registry) -> int:
    """Bytes of blobs that a registry has sent, as its log says, once it is silent."""
    text, before = registry.log_text(), ""
    while text != before:
        time.sleep(0.3)
        text, before = registry.log_text(), text
    return sum(int(sent) for sent in _SENT.findall(text))
