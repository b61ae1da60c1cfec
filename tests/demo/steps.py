"""The demo's stages, in the order of what happens after a push."""

from __future__ import annotations

import io
import platform
from pathlib import Path
from typing import Final

import httpx

from converter.chunk_manifest.chunk_list_reader import ChunkListReader
from converter.oci import Descriptor, Digest, media_types
from tests.demo.follow import follow_jobs
from tests.demo.image import PROGRAM, PROGRAM_OUTPUT_ENDS, TAG, demo_image
from tests.demo.lazy import layout_image, registry_image, run_from_kernel, run_from_nydusd
from tests.demo.show import Show, megabytes
from tests.peers.programs import ProgramError, is_installed, run_command
from tests.peers.stack import COMMAND, Stack
from tests.peers.tools import skopeo_copy

REPOSITORY: Final = "demo/analytics"
CONVERTED_TAG: Final = f"{TAG}-nydus"
JOB_TIMEOUT_S: Final = 300.0


class Demo:
    """One run.

    Args:
        directory: an empty directory for everything that the run leaves or removes.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._show = Show()

    def run(self, keep: bool) -> Stack:
        """Shows everything, and how long it took.

        Args:
            keep: leave registry and service running.

        Returns:
            The registry and the service, which run if `keep` said so.

        Raises:
            ProgramError: a program failed, or something was not as it has to be.
        """
        with self._show.stage("Make an image: Debian 12 with Python, and PyPI packages with native code"):
            layout, new = demo_image()
            self._show.line(f"{layout}" + ("" if new else " (made by an earlier run)"))
        with self._show.stage("Start a registry that notifies and redirects, and `dragonhook serve`"):
            stack = Stack(self._directory)
            stack.start()
        try:
            self._after_start(stack, layout)
        except BaseException:
            stack.stop()
            raise
        if not keep:
            stack.stop()
        self._show.summary()
        return stack

    def _after_start(self, stack: Stack, layout: Path) -> None:
        with self._show.stage(f"Push it with skopeo to {stack.reference(f'{REPOSITORY}:{TAG}')}"):
            skopeo_copy(f"oci:{layout}:{TAG}", f"docker://{stack.reference(f'{REPOSITORY}:{TAG}')}")
        with self._show.stage("The registry notified the service: follow its jobs through GET /v1/jobs"):
            source = layout_image(layout).digest
            for line in follow_jobs(stack.service, REPOSITORY, TAG, source, JOB_TIMEOUT_S):
                self._show.line(line)
        with self._show.stage(f"What stands under {CONVERTED_TAG} now"):
            self._converted(stack)
        with self._show.stage("Verify the signatures: dragonhook verify"):
            self._verify(stack)
        with self._show.stage("An ordinary pull, whose blobs come from the gateway"):
            self._pull(stack, layout)
        if is_installed("nydusd"):
            with self._show.stage("Run a program from the image, mounted lazily by nydusd"):
                self._lazy(stack)
        else:
            with self._show.stage("Run a program from the image, mounted by the kernel (no nydusd here)"):
                self._kernel(layout)

    def _converted(self, stack: Stack) -> None:
        image = registry_image(stack.registry.host, REPOSITORY, CONVERTED_TAG)
        self._show.line(f"{image.digest} ({image.media_type})")
        source = registry_image(stack.registry.host, REPOSITORY, TAG)
        for old, new in zip(source.layers, image.layers, strict=False):
            chunks = _chunk_count(stack, new)
            self._show.line(f"layer {megabytes(old.size)} → blob {megabytes(new.size)}, {chunks} chunks")
        *_, bootstrap = image.layers
        self._show.line(f"bootstrap {megabytes(bootstrap.size)}: all a node has to download before it starts")
        sizes = [sum(layer.size for layer in layers) for layers in (source.layers, image.layers)]
        self._show.line(f"in all {megabytes(sizes[0])} → {megabytes(sizes[1])}")

    def _verify(self, stack: Stack) -> None:
        reference = stack.reference(f"{REPOSITORY}:{CONVERTED_TAG}")
        command = ["verify", reference, "--key", str(stack.service.public_key)]
        self._show.line(f"$ dragonhook {' '.join(command)}")
        self._show.line(run_command([str(COMMAND), *command]))

    def _pull(self, stack: Stack, layout: Path) -> None:
        source = registry_image(stack.registry.host, REPOSITORY, TAG)
        answer = httpx.get(f"{stack.registry.url}/v2/{REPOSITORY}/blobs/{source.layers[0].digest}")
        location = answer.headers.get("Location", "")
        self._show.line(f"GET {answer.request.url.path}")
        self._show.line(f"→ {answer.status_code} {location}")
        if answer.status_code != 307 or not location.startswith(stack.service.gateway_url):
            raise ProgramError("the registry does not redirect to the gateway")
        pulled = self._directory / "pulled"
        skopeo_copy(f"docker://{stack.reference(f'{REPOSITORY}:{TAG}')}", f"oci:{pulled}:{TAG}")
        if layout_image(pulled).raw != layout_image(layout).raw:
            raise ProgramError("the pulled image is not the one that was pushed")
        self._show.line(f"skopeo pulled {source.digest}: the image that was pushed, byte for byte")

    def _lazy(self, stack: Stack) -> None:
        work = self._directory / "lazy"
        work.mkdir()
        image = registry_image(stack.registry.host, REPOSITORY, CONVERTED_TAG)
        before = stack.service.gateway_bytes()
        self._check_output(run_from_nydusd(stack.registry.host, REPOSITORY, image, work, PROGRAM))
        fetched, whole = stack.service.gateway_bytes() - before, sum(layer.size for layer in image.layers)
        self._show.line(f"for that, {megabytes(fetched)} of {megabytes(whole)} were fetched from the gateway")

    def _kernel(self, layout: Path) -> None:
        work = self._directory / "kernel"
        work.mkdir()
        converted = work / "layout"
        command = ["convert", "--kernel-mountable", f"oci:{layout}:{TAG}", f"oci:{converted}:{TAG}"]
        self._show.line(f"$ dragonhook {' '.join(command)}")
        run_command([str(COMMAND), *command], timeout_s=JOB_TIMEOUT_S)
        self._check_output(run_from_kernel(converted, work, PROGRAM))
        self._show.line(f"mounted by Linux {platform.release()} itself")

    def _check_output(self, output: str) -> None:
        self._show.line(f'$ python3 -c "{PROGRAM}"')
        self._show.line(output)
        if not output.endswith(PROGRAM_OUTPUT_ENDS):
            raise ProgramError(f"the program printed {output!r}")


def _chunk_count(stack: Stack, blob: Descriptor) -> int:
    """Chunks of a converted layer, from its signed chunk list."""
    tag = f"sha256-{blob.digest.hex}.dh-chunklist"
    artifact = registry_image(stack.registry.host, REPOSITORY, tag)
    chunk_list: Digest = next(
        layer.digest for layer in artifact.layers if layer.media_type == media_types.CHUNK_LIST
    )
    url = f"{stack.registry.url}/v2/{REPOSITORY}/blobs/{chunk_list}"
    content = httpx.get(url, follow_redirects=True).raise_for_status().content
    return ChunkListReader(io.BytesIO(content)).read_all().chunk_count
