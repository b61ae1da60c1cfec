"""What of an entry's metadata container engines can and do set on a file."""

from __future__ import annotations

import stat
from typing import Final

from converter.errors import InvalidLayerError
from converter.tar import Entry
from converter.tar.paths import show
from converter.tree import device_number

_NO_OWNER: Final = (1 << 32) - 1  # chown(2) takes it for "leave as it is"
_MAX_TIME: Final = divmod((1 << 63) - 1, 10**9)  # 63 bits of nanoseconds, in the year 2262
_ACL_ACCESS: Final = b"system.posix_acl_access"
_ACL_DEFAULT: Final = b"system.posix_acl_default"


def bounded_time(entry: Entry) -> tuple[int, int]:
    """Seconds since 1970 and nanoseconds; 0 for a time before 1970 or after 2262, as containerd sets it."""
    time = entry.mtime_s, entry.mtime_ns
    return time if (0, 0) <= time <= _MAX_TIME else (0, 0)


def owner(path: bytes, entry: Entry) -> tuple[int, int]:
    """User and group.

    Raises:
        InvalidLayerError: a number that the kernel has no room for. Engines cut it to 32 bits, which gives
        the
            file to somebody else.
    """
    if not (0 <= entry.uid < _NO_OWNER and 0 <= entry.gid < _NO_OWNER):
        raise InvalidLayerError(f"{show(path)} has the owner {entry.uid}:{entry.gid}, not within 32 bits")
    return entry.uid, entry.gid


def device(path: bytes, entry: Entry) -> int:
    """Device number in the kernel's encoding.

    Raises:
        InvalidLayerError: a number that the kernel has no room for.
    """
    try:
        return device_number(entry.major, entry.minor)
    except ValueError as error:
        raise InvalidLayerError(f"{show(path)}: {error}") from error


def settable_xattrs(xattrs: tuple[tuple[bytes, bytes], ...], kind: int) -> dict[bytes, bytes]:
    """The extended attributes without those that engines leave out, or that the kernel does not let them set.

    Args:
        xattrs: all attributes of an entry.
        kind: its file type, as in st_mode.
    """
    return {name: value for name, value in xattrs if _is_settable(name, kind)}


def _is_settable(name: bytes, kind: int) -> bool:
    if name.startswith(b"security."):
        return True
    if name.startswith(b"user."):
        return kind in (stat.S_IFREG, stat.S_IFDIR)
    if name == _ACL_ACCESS:
        return kind != stat.S_IFLNK
    return name == _ACL_DEFAULT and kind == stat.S_IFDIR
