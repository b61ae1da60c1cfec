"""How much memory this process has taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_PEAK: Final = re.compile(rb"VmHWM:\s+(\d+) kB")


def peak_bytes() -> int:
    """The largest resident set of this process since its program began (proc(5), VmHWM).

    Not `getrusage`, whose `ru_maxrss` also counts the process that started this one: a child of a large test
    run would seem large from its beginning, and a difference of two readings would be nothing.
    """
    found = _PEAK.search(Path("/proc/self/status").read_bytes())
    if found is None:
        raise RuntimeError("/proc/self/status does not say VmHWM")
    return int(found[1]) << 10
