"""Why a reader is missing in a cell. Each one that is missing needs a reason here, and each reason a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from tests.interop.compat.measure import NO_CONTENT, READERS, Cell
from tests.interop.compat.theirs import REFUSED

_UNLISTED: Final = "nydus-image gives a directory that an upper layer does not list the mode 0755"
_LOWEST: Final = "nydus-image shows whiteouts of the lowest layer as files"
_ACL: Final = "nydus-image 2.2 wants something behind `system.posix_acl_access`, and refuses the bootstrap"
_NO_PEER: Final = "nydus-image cannot be told to make this form of a layer"


@dataclass(frozen=True)
class Gap:
    """Readers that do not accept some cells.

    Args:
        letters: of the readers.
        rows: pattern of features' titles.
        columns: pattern of forms' titles.
        why: the reason, as the page says it.
    """

    letters: str
    rows: str
    columns: str
    why: str

    def covers(self, letter: str, cell: Cell) -> bool:
        """Whether this says why a reader is missing in a cell."""
        return (
            letter in self.letters
            and fnmatchcase(cell.row, self.rows)
            and fnmatchcase(cell.column, self.columns)
        )


GAPS: Final[Sequence[Gap]] = (
    Gap("cnom", "*", "one EROFS file", "one EROFS file is no RAFS any more, so these readers are not for it"),
    Gap("fk", "*", "v5 *", "RAFS v5 is no EROFS"),
    Gap("m", "*", "v5 *", "nydus-image 2.2 cannot merge RAFS v5"),
    Gap(
        "dr", "*", "v5 *",
        "nydus-image makes RAFS v5 of one layer only; `tests/interop/test_reference_output.py` reads those",
    ),
    Gap("m", "*", "shared layers", "nydus-image merges no bootstrap of a layer with chunks in several blobs"),
    Gap("dr", "*", "kernel-mountable", _NO_PEER),
    Gap("dr", "*", "one EROFS file", _NO_PEER),
    Gap("dr", "*", "chunk dictionary", "`tests/interop/test_shared_blobs.py` does it in both directions"),
    Gap("dr", "*", "shared layers", _NO_PEER),
    Gap("dr", "*", "OCI reference*", "`tests/interop/test_reference_image.py` holds its index beside ours"),
    Gap("cmd", "ACLs", "*", _ACL),
    Gap(
        "m", "Hardlinks to symlinks, devices and FIFOs", "*",
        "nydus-image makes an inode of each name of a hardlinked symlink, device or FIFO",
    ),
    Gap(
        "m", "Hardlinks to earlier layers", "*",
        "the bootstrap of a layer cannot name a target in another layer; that of the image has it",
    ),
    Gap("m", "Whiteouts of what no layer has", "*", _LOWEST),
    Gap("m", "What containerd does by accident", "*", _LOWEST),
    Gap("m", "AUFS' and overlayfs' own markers", "*", "nydus-image drops directories with AUFS' names"),
    Gap(
        "m", "A file that becomes a directory and back", "*",
        "nydus-image shows again what was in a directory before a file took its place",
    ),
    Gap("m", "Whiteouts beside new entries of their layer", "*", _UNLISTED),
    Gap("m", "Whiteouts of files and directories", "*", _UNLISTED),
    Gap("m", "Opaque directories*", "*", _UNLISTED),
    Gap("m", "Metadata kept and dropped by later layers", "*", _UNLISTED),
    Gap("m", "Directories that no layer lists", "*", _UNLISTED),
    Gap("r", "Image: 127 layers*", "*", "nydus-image would have to run once for each of 127 layers"),
)  # fmt: skip


@dataclass(frozen=True)
class Explained:
    """The reasons of a whole table.

    Args:
        reasons: by row, column and letter, for every reader that is missing.
        unexplained: what is missing for no known reason, with what the reader said.
        unneeded: gaps that are none any more.
    """

    reasons: dict[tuple[str, str, str], str]
    unexplained: list[str]
    unneeded: list[Gap]


def explain(cells: Sequence[Cell]) -> Explained:
    """Finds the reason for every reader that is missing in a cell."""
    reasons: dict[tuple[str, str, str], str] = {}
    unexplained, needed = [], set[Gap]()
    for cell in cells:
        for letter in READERS:
            said = cell.verdict.get(letter, "not asked")
            if not said:
                continue
            known = _known(said)
            gap = next((gap for gap in GAPS if gap.covers(letter, cell)), None)
            if known is None and gap is None:
                unexplained.append(f"{cell.row} / {cell.column} / {letter}: {said}")
            elif known is None and gap is not None:
                needed.add(gap)
            reasons[cell.row, cell.column, letter] = known or (gap.why if gap else "?")
    return Explained(reasons, unexplained, [gap for gap in GAPS if gap not in needed])


def _known(said: str) -> str | None:
    """Reasons that the measurement itself gives."""
    if said == NO_CONTENT:
        return "no file of the row has content"
    return f"nydus-image makes no such image: {said}" if said in REFUSED.values() else None
