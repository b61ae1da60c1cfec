"""The demo's image: Debian 12 with Python, and real PyPI packages with native code in a layer of their own.

Made once and kept in the cache directory. The same pins give the same image, except that Debian's
packages and so the lower layer move with Debian's security fixes.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from tests.images.layout import build_image
from tests.peers.pins import cache_directory
from tests.peers.programs import run_command, run_program

TAG: Final = "demo"
SUITE: Final = "bookworm"
DEBIAN_PACKAGES: Final = ("python3",)
PYPI_PACKAGES: Final = (
    "numpy==2.4.6", "pandas==2.3.3", "python-dateutil==2.9.0.post0", "pytz==2026.6", "six==1.17.0",
    "tzdata==2026.6",
)  # fmt: skip
IMAGE_PYTHON: Final = "3.11"  # Debian 12's; on sys.path there:
SITE: Final = "usr/local/lib/python3.11/dist-packages"
BUILD_TIMEOUT_S: Final = 600.0
EPOCH_S: Final = 1577836800  # 2020-01-01: the one time of every file that the layers' own tools do not set.

# What the demo runs from the lazy mount: imports native code, and uses it.
PROGRAM: Final = (
    "import numpy, pandas; "
    "frame = pandas.DataFrame({'x': numpy.arange(1_000_000)}); "
    "print('numpy', numpy.__version__, 'pandas', pandas.__version__, 'sum', int(frame.x.sum()))"
)
PROGRAM_OUTPUT_ENDS: Final = "sum 499999500000"


def demo_image() -> tuple[Path, bool]:
    """The OCI layout of the demo's image, under the tag `TAG`.

    Returns:
        The layout's directory, and whether it was made just now.

    Raises:
        ProgramError: mmdebstrap or pip failed; the message has what it said.
    """
    recipe = repr((SUITE, DEBIAN_PACKAGES, PYPI_PACKAGES, SITE, EPOCH_S))
    layout = cache_directory() / "demo" / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    if layout.is_dir():
        return layout, False
    layout.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.parent, prefix=".image-") as directory:
        scratch = Path(directory)
        image = build_image([_debian_layer(scratch), _pypi_layer(scratch)])
        image.write_layout(scratch / "layout", TAG)
        (scratch / "layout").rename(layout)
    return layout, True


def _debian_layer(scratch: Path) -> bytes:
    """A root file system, as mmdebstrap writes it."""
    tar = scratch / "root.tar"
    include = f"--include={','.join(DEBIAN_PACKAGES)}"
    run_program(
        "mmdebstrap", "--quiet", "--variant=minbase", include, SUITE, tar,
        environ={"SOURCE_DATE_EPOCH": str(EPOCH_S)}, timeout_s=BUILD_TIMEOUT_S,
    )  # fmt: skip
    return tar.read_bytes()


def _pypi_layer(scratch: Path) -> bytes:
    """A layer with `PYPI_PACKAGES` where the image's Python looks for them."""
    target = scratch / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    binaries = [
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={IMAGE_PYTHON}",
        "--no-compile",
    ]
    run_command([*pip, *binaries, f"--target={target}", *PYPI_PACKAGES], timeout_s=BUILD_TIMEOUT_S)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        # tarfile walks directories in sorted order, so the layer's bytes follow from its files.
        tar.add(target, SITE, filter=neutral)
    return buffer.getvalue()


def neutral(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member without what depends on who made it, and when."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = EPOCH_S
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644  # whatever the umask is
    return member
