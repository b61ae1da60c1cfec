"""`make demo`: push an image, watch it become a signed and lazily mountable one, and run a program from it.

Everything is real: Debian's docker-registry with notifications and redirects, skopeo, mmdebstrap, PyPI
packages with native code, nydusd where it is installed and else the kernel's EROFS. Ends by itself and
leaves nothing running; with KEEP=1 in the environment registry and service stay up.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.demo.steps import Demo
from tests.peers.programs import MissingProgramError, ProgramError
from tests.peers.stack import Stack


def main() -> int:
    """Runs the demo; the exit status is 0 if everything was shown."""
    if os.geteuid() != 0:
        print("The demo mounts an image and changes its root directory, which needs root.", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = Path(tempfile.mkdtemp(prefix="dragonhook-demo-"))
    keep = os.environ.get("KEEP") == "1"
    try:
        stack = Demo(directory).run(keep)
    except (MissingProgramError, ProgramError) as error:
        print(f"\nThe demo failed: {error}\nLogs and state are in {directory}.", file=sys.stderr)
        return 1
    except BaseException:
        shutil.rmtree(directory)
        raise
    if keep:
        _say_what_runs(stack, directory)
    else:
        shutil.rmtree(directory)
    return 0


def _say_what_runs(stack: Stack, directory: Path) -> None:
    print(
        f"\nLeft running, because of KEEP=1\n"
        f"   registry        {stack.registry.url}\n"
        f"   service         {stack.service.url}/v1/jobs\n"
        f"   gateway         {stack.service.gateway_url}\n"
        f"   settings, logs  {directory}\n"
        f"Stop it with\n"
        f"   kill {stack.service.pid} {stack.registry.pid}\n"
        f"   rm -r {directory}"
    )


if __name__ == "__main__":
    sys.exit(main())
