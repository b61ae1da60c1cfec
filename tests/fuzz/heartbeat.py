"""What a worker tells its watcher through a shared file: which case it runs, and since when."""

from __future__ import annotations

import struct
from typing import Final

HEARTBEAT: Final = struct.Struct("<qd")  # number of the case, and the monotonic time at which it began
