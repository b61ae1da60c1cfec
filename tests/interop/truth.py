"""What the odd image has to look like: containerd's tree, and where the tables say so, umoci's or ours.

`CORRECTIONS` are the documented differences from it, each with its reason. They change the truth before
anything is compared, so a difference that is allowed is also demanded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tests.images.odd import BY_UMOCI, CASES, READ_BY_US, REFUSED, Case, odd_image
from tests.interop import umoci
from tests.interop.containerd import Containerd
from tests.trees import Tree

_LATE_TIMES = "containerd sets times of directories at the end, on whatever is at the path then"
_COPIED = (
    "containerd copies an unlisted directory from the path of a lower layer, visible or not, and lets it be"
)
_MKDIR = "mkdir(2) and open(2) inherit it while unpacking; the layers say nothing of it"


@dataclass(frozen=True)
class Correction:
    """A documented difference between the truth as measured and what the image means.

    Args:
        path: in the odd image.
        fields: fields of `Node`, with the value that is right.
        reason: why the measured one is not.
    """

    path: bytes
    fields: Mapping[str, object]
    reason: str

    def apply(self, tree: Tree) -> None:
        """Puts the right values in, which must not be there yet."""
        node = tree[self.path]
        for name, value in self.fields.items():
            assert getattr(node, name) != value, f"{self.path!r} needs no correction of {name}"
        tree[self.path] = replace(node, **self.fields)  # type: ignore[arg-type]  # names are Node's own


CORRECTIONS: tuple[Correction, ...] = (
    Correction(b"mode-setgid-inherited/d/g", {"gid": 0}, _MKDIR),
    Correction(b"directory-metadata-kept-deep/d/e/n", {"gid": 0}, _MKDIR),
    Correction(b"xattr-acl-default/d/a", {"xattrs": ()}, _MKDIR),
    Correction(b"xattr-acl-default/d/e", {"xattrs": ()}, _MKDIR),
    Correction(b"xattr-acl-default/d/i", {"xattrs": ()}, _MKDIR),
    Correction(b"xattr-acl-default/d/i/j", {"xattrs": ()}, _MKDIR),
    Correction(b"accident-time-of-replaced/a", {"mtime_s": 2000}, _LATE_TIMES),
    Correction(b"accident-xattrs-stay/d", {"xattrs": (("user.b", b"2"),)}, _COPIED),
    Correction(b"accident-metadata-of-target/c", {"mode": 0o755, "uid": 0}, _COPIED),
    Correction(b"accident-metadata-of-hidden/p/q", {"mode": 0o755, "uid": 0}, _COPIED),
)

# Times of directories that no layer lists, or not the last one: containerd shows when it unpacked them. Ours
# is the time of the highest layer that lists them and is not hidden, else 0.
UNLISTED_TIMES: Mapping[bytes, int] = {
    b".": 0,
    b"implicit-parents": 0,
    b"implicit-parents/p": 0,
    b"implicit-then-listed/p": 500,
    b"implicit-over-explicit/p": 1000,
    b"implicit-over-explicit/p/q": 2000,
    b"implicit-three-layers/p": 1000,
    b"directory-metadata-kept/d": 1000,
    b"whiteout-parents-unlisted/d": 1577836800,
    b"whiteout-directory-and-back/d": 0,
    b"whiteout-directory-before-implicit/d": 0,
    b"opaque-parent-unlisted/d": 1577836800,
    b"file-to-directory-implicit/a": 0,
    b"directory-to-file-and-back-implicit/d": 0,
    b"unsorted-without-parents/usr/lib": 2000,
    b"unsorted-without-parents/usr/share": 3000,
    b"unsorted-without-parents/usr/bin": 0,
}


def converted_cases() -> tuple[Case, ...]:
    """The cases that the odd image for the converter is made of: all but the refused ones."""
    return tuple(case for case in CASES if case.name not in REFUSED)


def odd_truth(containerd: Containerd, work: Path) -> Tree:
    """The tree that the image of `converted_cases` must show.

    Args:
        containerd: unpacks what it can.
        work: a directory for what umoci unpacks.
    """
    cases = converted_cases()
    by_umoci = [case for case in cases if case.name in BY_UMOCI]
    rest = [READ_BY_US.get(case.name, (case,))[0] for case in cases if case.name not in BY_UMOCI]
    tree = containerd.unpack(odd_image(rest))
    second = umoci.unpack(odd_image(by_umoci), work / "umoci")
    tree |= {path: node for path, node in second.items() if path != b"."}
    for correction in CORRECTIONS:
        correction.apply(tree)
    tree[b"."] = replace(tree[b"."], links=2 + len(cases))
    return tree
