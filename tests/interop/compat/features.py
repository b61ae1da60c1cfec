"""The rows: what an input can have, and the cases that show it.

Every case of the odd image stands in exactly one row. A row is right for a reader when all of its cases are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from tests.images.nydus_tests import NYDUS_TESTS
from tests.images.odd import Case
from tests.images.odd.case import case
from tests.images.packing import PACKINGS
from tests.images.tar import directory, file
from tests.interop.truth import converted_cases

# Their directories would cost every reader seconds in every form; `directory-1000` stands for them here.
_TOO_LARGE: Final = {"name-many", "name-many-long"}
# `nydus-image check` refuses them (see `tests.interop.test_odd_image`), and with them the rest of an image.
ACLS: Final = ("xattr-acl", "xattr-acl-default")

_OTHERS: Final = (
    *NYDUS_TESTS,
    case(
        "directory-1000",
        [directory("d"), *(file(f"d/{n:04}{'n' * (n % 90)}", b"%d" % (n % 7)) for n in range(1000))],
    ),
)


@dataclass(frozen=True)
class Feature:
    """A row.

    Args:
        title: in words.
        directories: of the image, one for each case.
    """

    title: str
    directories: tuple[str, ...]


# Title, and patterns of cases' names; the first row that matches gets the case.
_ROWS: Final = (
    ("Tar: ustar prefixes and full name fields", "name-ustar-prefix name-exactly-100"),
    ("Tar: PAX records", "name-pax-path size-by-record owner-by-records atime-ctime mtime-record-*"),
    ("Tar: PAX global headers", "global-header*"),
    ("Tar: PAX sparse files 0.0, 0.1 and 1.0", "sparse-pax*"),
    ("Tar: GNU sparse files", "sparse-gnu*"),
    ("Tar: GNU long names and links", "name-255-gnu name-not-utf8-gnu symlink-lengths-gnu"),
    ("Tar: GNU base-256 numbers", "size-base-256 mtime-negative-gnu owner-large"),
    ("Tar: rare types of entries", "type-*"),
    ("Times: before 1970, after 2038, with fractions", "mtime-*"),
    ("Names that are not UTF-8", "name-not-utf8 symlink-target-not-utf8 xattr-name-not-utf8"),
    ("Names of 255 bytes and of odd bytes", "name-255 name-odd-* name-round-* name-dots name-case "
     "name-unicode-*"),
    ("Names: trailing slashes, landmarks of other formats", "name-trailing-* name-nydus-*"),
    ("Paths 64 levels deep", "name-64-levels name-deep"),
    ("A directory of 1,000 entries", "directory-1000"),
    ("Hardlinks in a layer", "hardlink-siblings hardlink-across-* hardlink-other-* hardlink-with-* "
     "hardlink-empty-* hardlink-through-* hardlink-target-dotted hardlink-replaces-* "
     "hardlink-target-replaced*"),
    ("Hardlinks to symlinks, devices and FIFOs", "hardlink-to-symlink* hardlink-to-*-device "
     "hardlink-to-fifo"),
    ("Hardlinks to earlier layers", "hardlink-to-lower* hardlink-two-to-lower"),
    ("Hardlinks changed by later layers", "hardlink-*"),
    ("Symlinks up to the limits of length", "symlink-lengths symlink-kinds symlink-metadata symlink-loop"),
    ("Symlinks with attributes", "symlink-with-*"),
    ("Entries below symlinks", "symlink-lower-* symlink-own-* symlink-over-* symlink-to-self-*"),
    ("Whiteouts of what no layer has", "whiteout-of-nothing* whiteout-lowest-*"),
    ("Whiteouts beside new entries of their layer", "whiteout-*-own* whiteout-*-implicit "
     "whiteout-*-then-deeper whiteout-twice whiteout-child-* whiteout-and-child-*"),
    ("AUFS' and overlayfs' own markers", "whiteout-aufs* whiteout-overlay-* opaque-overlay-* xattr-overlay-* "
     "whiteout-opq-like"),
    ("Whiteouts of files and directories", "whiteout-*"),
    ("Opaque directories, in each order", "opaque-*"),
    ("A file that becomes a directory and back", "file-to-directory* directory-to-file*"),
    ("Other changes of type", "directory-to-symlink symlink-to-directory device-to-file file-to-file"),
    ("Metadata kept and dropped by later layers", "directory-metadata-* file-metadata-*"),
    ("Entries listed twice", "twice-*"),
    ("Directories that no layer lists", "implicit-* explicit-* unsorted-*"),
    ("What containerd does by accident", "accident-*"),
    ("Setuid, setgid, sticky; any owner", "mode-*"),
    ("Devices, FIFOs", "device-*"),
    ("File capabilities and other security attributes", "xattr-capability-* xattr-security-*"),
    ("Attributes over a block", "xattr-over-a-block xattr-largest xattr-many xattr-name-long"),
    ("ACLs", "xattr-acl xattr-acl-default"),
    ("Other attributes", "xattr-*"),
    ("Files of 0 bytes to several chunks", "content-sizes content-chunks"),
    ("Zeros, repeated content", "content-*"),
    ("Layer: plain tar", "layer-plain"),
    ("Layer: gzip", "layer-gzip"),
    ("Layer: gzip of several members", "layer-gzip-members"),
    ("Layer: zstd", "layer-zstd layer-zstd-frames"),
    ("Layer: zstd:chunked", "layer-zstd-chunked"),
    ("Layer: eStargz", "layer-estargz"),
    ("Nydus' own tests: all-entry-type", "nydus-all-entry-type"),
    ("Nydus' own tests: all-entry-type-macos", "nydus-all-entry-type-macos"),
    ("Nydus' own tests: lower and upper layer", "nydus-smoke-lower-and-upper"),
    ("Nydus' own tests: chunk-dict layer, zran zero file", "nydus-smoke-chunk-dict nydus-zran-*"),
    ("Nydus' own tests: zran of bgzip", "layer-gzip-bgzf"),
)  # fmt: skip


def cases() -> tuple[Case, ...]:
    """The cases of the table: those of the odd image that are not too large, and some more."""
    return (*(one for one in converted_cases() if one.name not in _TOO_LARGE), *_OTHERS)


def other_cases() -> tuple[Case, ...]:
    """Those that are not of the odd image, so that its truth does not have them."""
    return _OTHERS


def features() -> Sequence[Feature]:
    """The rows, in order.

    Raises:
        ValueError: a case has no row, or a row no case.
    """
    names = [*(one.name for one in cases()), *(packing.name for packing in PACKINGS)]
    found: dict[str, list[str]] = {title: [] for title, _ in _ROWS}
    for name in names:
        for title, patterns in _ROWS:
            if any(fnmatchcase(name, pattern) for pattern in patterns.split()):
                found[title].append(name)
                break
        else:
            raise ValueError(f"the case {name} is in no row of the table")
    empty = [title for title, directories in found.items() if not directories]
    if empty:
        raise ValueError(f"rows without cases: {empty}")
    return [Feature(title, tuple(directories)) for title, directories in found.items()]
