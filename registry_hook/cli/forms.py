"""The options of a command that say which form a converted image shall have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, BinaryIO, Final

import click

from converter.options import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE, PREFETCH_ALL, ConvertOptions
from converter.prefetch import TraceError, read_trace


def form_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options about the form of the output to a command, which gets `options`."""

    @click.option(
        "--fs-version", type=click.Choice(["5", "6"]), default="6", show_default=True,
        help="Of RAFS; 5 for clients that know nothing newer.",
    )  # fmt: skip
    @click.option("--compressor", type=click.Choice(["zstd", "lz4_block", "none"]), help="Default: zstd.")
    @click.option("--level", type=click.IntRange(1, 19), default=3, show_default=True, help="Of zstd.")
    @click.option(
        "--chunk-size", type=click.IntRange(MIN_CHUNK_SIZE, MAX_CHUNK_SIZE), default=1 << 20,
        show_default=True, help="Bytes of file content in a chunk; a power of two.",
    )  # fmt: skip
    @click.option(
        "--digester", type=click.Choice(["blake3", "sha256"]),
        help="Digest of chunks. Default: blake3, with --oci-ref sha256.",
    )  # fmt: skip
    @click.option(
        "--oci-ref", is_flag=True,
        help="Leave the data in the gzip layers of SRC and add only an index to them. DST needs those layers "
        "for as long as it lives; they are copied where they are missing.",
    )  # fmt: skip
    @click.option("--kernel-mountable", is_flag=True, help="Lay blobs out for the kernel; not compressed.")
    @click.option(
        "--prefetch", "prefetch", multiple=True, metavar="PATH",
        help="File or directory of the image to fetch before it is asked for; may be given several times, "
        "the most urgent first. Default: /",
    )  # fmt: skip
    @click.option(
        "--prefetch-trace", type=click.File("rb"), metavar="FILE",
        help="Paths to fetch beforehand, one a line, in the order in which a container reads them.",
    )  # fmt: skip
    @click.option(
        "--media-types", type=click.Choice(["oci", "docker"]), default="oci", show_default=True,
        help="Of manifest, config and bootstrap layer.",
    )  # fmt: skip
    @click.option(
        "--share-layers", is_flag=True,
        help="Let layers refer to chunks of the layers below them; their blobs are complete only together.",
    )  # fmt: skip
    @click.option(
        "--include-foreign", is_flag=True,
        help="Convert layers that may not be distributed, too: the result holds their content.",
    )  # fmt: skip
    @click.option(
        "--threads", type=click.IntRange(0, 256), default=0,  # as the setting convert.threads
        help="That compress; 0: one for each processor. At most 16 are used.",
    )  # fmt: skip
    @wraps(command)
    def wrapper(
        *arguments: Any,
        fs_version: str,
        compressor: str | None,
        digester: str | None,
        prefetch: tuple[str, ...],
        prefetch_trace: BinaryIO | None,
        **others: Any,
    ) -> Any:
        chosen = {name: others.pop(name) for name in _PASSED_ON}
        _check_exclusions(
            {
                "--fs-version 5": fs_version == "5",
                f"--compressor {compressor}": compressor not in (None, "none"),
                "--digester blake3": digester == "blake3",
                "--oci-ref": chosen["oci_ref"],
                "--kernel-mountable": chosen["kernel_mountable"],
                "--share-layers": chosen["share_layers"],
            }
        )
        chosen["compressor"] = compressor or ("none" if chosen["kernel_mountable"] else "zstd")
        chosen["digester"] = digester or ("sha256" if chosen["oci_ref"] else "blake3")
        try:
            if prefetch_trace is not None:
                prefetch += read_trace(prefetch_trace)
            options = ConvertOptions(
                fs_version=6 if fs_version == "6" else 5, prefetch=prefetch or PREFETCH_ALL, **chosen
            )
        except (TraceError, ValueError) as error:
            raise click.UsageError(str(error)) from error
        return command(*arguments, options=options, **others)

    return wrapper


def _check_exclusions(given: Mapping[str, bool]) -> None:
    """Refuses options that exclude each other by their own names, where `ConvertOptions` names its fields.

    Raises:
        UsageError: two of them are given.
    """
    options = [option for option, is_given in given.items() if is_given]
    for one, (others, why) in _EXCLUSIONS.items():
        if one not in options:
            continue
        for option in options:
            if option.startswith(others):
                raise click.UsageError(f"{one} excludes {option}: {why}")


_EXCLUSIONS: Final = {
    "--kernel-mountable": (
        ("--compressor", "--fs-version"),
        "the kernel reads blobs of RAFS 6, and as they are",
    ),
    "--oci-ref": (
        ("--kernel-mountable", "--fs-version", "--digester"),
        "the data stay in the layers of SRC, whose index is of RAFS 6 with digests of sha256",
    ),
    "--share-layers": (("--oci-ref", "--fs-version"), "it is for data blobs of RAFS 6"),
}
_PASSED_ON = (
    "level", "chunk_size", "kernel_mountable", "oci_ref", "media_types", "share_layers", "include_foreign",
    "threads",
)  # fmt: skip
