"""Every form of output that the options can ask for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from converter.options import ConvertOptions

_LESS_WANTED = (
    ("share_layers", False), ("digester", "sha256"), ("kernel_mountable", False), ("fs_version", 6),
    ("chunk_size", 1 << 16), ("oci_ref", False),
)  # fmt: skip
_PATHS = ("/a", "/b", "/a/b", "/nothing", "/", "/c/a")


def options(*, references: bool = True) -> st.SearchStrategy[ConvertOptions]:
    """Any options that go together.

    Args:
        references: also those that leave the data in the layers of the source.
    """
    drawn = st.fixed_dictionaries(
        {
            "compressor": st.sampled_from(["zstd", "zstd", "lz4_block", "none"]),
            "level": st.sampled_from([1, 3]),
            "chunk_size": st.sampled_from([4096, 4096, 8192, 65536, 1 << 20, 16 << 20]),
            "kernel_mountable": st.booleans(),
            "threads": st.sampled_from([1, 2]),
            "fs_version": st.sampled_from([6, 6, 5]),
            "digester": st.sampled_from(["blake3", "sha256"]),
            "prefetch": st.sampled_from([("/",), (), _PATHS[:3], _PATHS[3:], ("/c/a", "/a")]),
            "media_types": st.sampled_from(["oci", "docker"]),
            "share_layers": st.booleans(),
            "oci_ref": st.sampled_from([False, False, True] if references else [False]),
        }
    )
    return drawn.map(_allowed)


def _allowed(drawn: dict[str, object]) -> ConvertOptions:
    """The nearest options that do not exclude each other."""
    try:
        return ConvertOptions(**drawn)  # type: ignore[arg-type]  # names and values are theirs
    except ValueError:
        for name, value in _LESS_WANTED:
            drawn = drawn | {name: value}
            try:
                return ConvertOptions(**drawn)  # type: ignore[arg-type]
            except ValueError:
                continue
        raise


def with_threads(chosen: ConvertOptions, threads: int) -> ConvertOptions:
    """The same form, made by another number of threads."""
    return replace(chosen, threads=threads)
