"""Layers that nobody thought of: few names, so that everything meets everything."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.images.tar import (
    BLOCK_DEVICE,
    CHAR,
    FIFO,
    Entry,
    directory,
    file,
    hardlink,
    opaque,
    symlink,
    whiteout,
)
from tests.properties.overlay import Layer

_NAMES = st.sampled_from(["a", "b", "c"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)
_SHORT = st.one_of(_NAMES, _NAMES, _PATHS)
_TARGETS = st.one_of(_PATHS, st.sampled_from(["/a", "../b", "/", ".", "b/../c", "a/b", "nowhere"]))
_COMMON = st.fixed_dictionaries(
    {
        "mode": st.sampled_from([0o755, 0o700, 0o644, 0o1777, 0o4711, 0o2755]),
        "uid": st.integers(0, 2),
        "mtime": st.sampled_from([0, 1, 1577836800, 1 << 33]),
        "xattrs": st.sampled_from([{}, {}, {b"user.x": b"1"}, {b"user.y": b"2"}, {b"user.x": b""}]),
    }
)


def _with_metadata(entry: st.SearchStrategy[Entry]) -> st.SearchStrategy[Entry]:
    return st.builds(lambda made, fields: Entry(**(vars(made) | fields)), entry, _COMMON)


_ENTRIES = st.one_of(
    _with_metadata(st.builds(file, _PATHS, st.sampled_from([b"", b"1", b"22", b"x" * 5000]))),
    _with_metadata(st.builds(file, _PATHS, st.sampled_from([b"", b"1"]))),
    _with_metadata(st.builds(directory, _PATHS)),
    _with_metadata(st.builds(directory, _PATHS)),
    _with_metadata(st.builds(symlink, _PATHS, _TARGETS)),
    _with_metadata(st.builds(hardlink, _PATHS, _SHORT)),
    _with_metadata(st.builds(hardlink, _PATHS, _SHORT)),
    _with_metadata(st.builds(hardlink, _PATHS, _SHORT)),
    st.builds(whiteout, _PATHS),
    st.builds(whiteout, _PATHS),
    st.builds(opaque, _PATHS),
    _with_metadata(st.builds(lambda path: Entry(path.encode(), FIFO), _PATHS)),
    _with_metadata(st.builds(lambda path: Entry(path.encode(), CHAR, device=(1, 3)), _PATHS)),
    _with_metadata(st.builds(lambda path: Entry(path.encode(), BLOCK_DEVICE, device=(0, 0)), _PATHS)),
    st.builds(lambda path: Entry(path.encode(), CHAR, device=(0, 0)), _PATHS),
)


def layers(most: int = 4) -> st.SearchStrategy[list[Layer]]:
    """Up to `most` layers of a few entries, the lowest first."""
    return st.lists(st.lists(_ENTRIES, max_size=7).map(tuple), min_size=1, max_size=most)
