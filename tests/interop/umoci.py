"""The second opinion: what umoci unpacks (needs root)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.images.layout import Image
from tests.peers.programs import find_program
from tests.trees import Tree, forget_directory_times, snapshot


class UmociRefusedError(Exception):
    """umoci does not unpack the image; the text is its own."""


def unpack(image: Image, directory: Path) -> Tree:
    """Unpacks the image into a new directory, reads the tree and removes it.

    umoci does not restore the times of directories that it touches later, so the tree has none of them.

    Raises:
        UmociRefusedError: umoci refuses a layer.
    """
    layout, bundle = directory / "layout", directory / "bundle"
    image.write_layout(layout, "test")
    command = [str(find_program("umoci")), "unpack", "--image", f"{layout}:test", str(bundle)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if run.returncode:
            raise UmociRefusedError(run.stderr.strip()[-2000:])
        return forget_directory_times(snapshot(bundle / "rootfs"))
    finally:
        shutil.rmtree(directory)
