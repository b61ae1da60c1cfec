"""Commands for one image: convert, verify."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Final

import click
from click.core import ParameterSource
from rich.console import Console

from converter.dictionary import DEFAULT_MAX_BLOBS
from converter.oci import InvalidReferenceError, Platform, Reference
from converter.one_file import check_options
from converter.options import ConvertOptions
from registry_hook.cli.clients import Clients, client_options
from registry_hook.cli.errors import WrongCommandLine, errors_in_one_line, one_line
from registry_hook.cli.forms import form_options
from registry_hook.cli.parameters import PlatformType
from registry_hook.cli.progress import progress_bar
from registry_hook.dictionaries import NamedDictionaries
from registry_hook.one_file import convert_to_files
from registry_hook.oneshot import convert_one
from registry_hook.registry import NotFoundError
from registry_hook.transports import open_sink, open_source, refuse_same_place
from signer.errors import VerificationError
from signer.keys import VerificationKey
from signer.provenance import DEFAULT_BUILDER_ID
from signer.report import VerificationReport
from signer.verify import VerificationPolicy, verify_image

_DIRECTORY: Final = click.Path(path_type=Path, exists=True, file_okay=False, writable=True)


_NOT_IN_ONE_FILE: Final = frozenset(
    {
        "fs_version", "compressor", "level", "digester", "oci_ref", "kernel_mountable", "prefetch",
        "prefetch_trace", "media_types", "share_layers", "dictionaries", "max_borrowed", "merged_index",
    }
)  # fmt: skip
_CONVERT_STATUS: Final = """\b
Exit status:
  0  done; the digest of the converted image is on standard output
  1  refused, or something cannot be read or written
  2  wrong command line: an option, SRC or DST
"""
_VERIFY_STATUS: Final = """\b
Exit status:
  0  verified
  1  not checked: the registry cannot be reached, or does not let us
  2  wrong command line: an option, REF or a key file
  3  verification failed: not there, not signed, or not what was signed
"""


class _VerificationFailed(click.ClickException):
    exit_code = 3


@contextmanager
def _verification_failed() -> Iterator[None]:
    try:
        yield
    except VerificationError as error:
        raise _VerificationFailed(f"verification failed: {error}") from error


@contextmanager
def _full_work_directory(work_dir: Path | None) -> Iterator[None]:
    """Says which disk is full: the system does not, and a full destination is an UnwritableError."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        place = work_dir or gettempdir()
        raise click.ClickException(f"{place}: {error.strerror}; --work-dir can be another place") from error


@click.command(epilog=_CONVERT_STATUS)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@form_options
@click.option(
    "--platform", "platforms", type=PlatformType(), multiple=True,
    help="Of an index, convert the image for this platform; may be given several times. Default: all.",
)  # fmt: skip
@click.option(
    "--chunk-dict", "dictionaries", multiple=True, metavar="REF",
    help="Nydus image whose chunks are referred to instead of stored again; may be given several times, and "
    "is spelled like SRC. What it says is believed: verify it first.",
)  # fmt: skip
@click.option(
    "--max-borrowed", type=click.IntRange(0, 127), default=DEFAULT_MAX_BLOBS, show_default=True,
    help="Blobs of --chunk-dict images that the result may refer to, beside those of layers it has as well.",
)  # fmt: skip
@click.option(
    "--merged-index", is_flag=True,
    help="Make an index of SRC's own images, as they are, and of their conversions.",
)  # fmt: skip
@click.option(
    "--one-file", is_flag=True,
    help="Make one EROFS file for loop mounts and containerd's EROFS snapshotter instead of a Nydus image.",
)  # fmt: skip
@click.option("--work-dir", type=_DIRECTORY, help="For the result meanwhile; default: $TMPDIR, else /tmp.")
@client_options
def convert(
    source: str,
    destination: str,
    options: ConvertOptions,
    platforms: tuple[Platform, ...],
    dictionaries: tuple[str, ...],
    max_borrowed: int,
    merged_index: bool,
    one_file: bool,
    work_dir: Path | None,
    clients: Clients,
) -> None:
    """Convert the image SRC to the Nydus image DST.

    Both are oci:DIR:TAG, oci-archive:FILE:TAG or docker://HOST/REPOSITORY:TAG, as skopeo spells them; SRC may
    also be docker-daemon:NAME:TAG, an image of a local engine (DOCKER_HOST says which). An oci: destination
    keeps its other images; an oci-archive: destination is replaced as a whole. The result is not signed; the
    service does that.
    """
    _check_combinations(source, options, dictionaries, one_file=one_file)
    if not merged_index:  # which offers the source, too
        with errors_in_one_line(clients):
            refuse_same_place(source, destination)
    with (
        errors_in_one_line(clients),
        _full_work_directory(work_dir),
        open_source(source, clients, work_dir) as image,
        open_sink(destination, clients) as sink,
        ExitStack() as opened,
        progress_bar(Console(stderr=True)) as progress,
    ):
        if one_file:
            click.echo(str(convert_to_files(image, sink, options, progress, work_dir, platforms).digest))
            return
        lenders = [opened.enter_context(open_source(name, clients, work_dir)) for name in dictionaries]
        named = NamedDictionaries(lenders, max_borrowed)
        outcome = convert_one(image, sink, options, progress, work_dir, platforms, named, merged=merged_index)
    for note in outcome.kept:
        click.echo(f"kept: {note}", err=True)
    for note in outcome.copied:
        click.echo(f"converted, not referred to: {note}", err=True)
    click.echo(str(outcome.descriptor.digest))


def _check_combinations(
    source: str, options: ConvertOptions, dictionaries: tuple[str, ...], *, one_file: bool
) -> None:
    """Refuses options that exclude each other, beside those about the form."""
    given = _given_options()
    if one_file:
        _check_one_file(options, given)
    if "max_borrowed" in given and not dictionaries:
        raise click.UsageError("--max-borrowed is about --chunk-dict, which is not given")
    if options.oci_ref and source.startswith("docker-daemon:"):
        raise click.UsageError(
            "--oci-ref excludes docker-daemon: as SRC: an engine gives plain tars, which no registry has, so"
            " there is nothing to refer to; push the image and name it as docker://"
        )
    if options.oci_ref and dictionaries:
        raise click.UsageError("--oci-ref excludes --chunk-dict: the data stay in the layers of SRC")


def _given_options() -> dict[str, str]:
    """The options of the command line that runs, by their parameters' names."""
    context = click.get_current_context()
    return {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.name and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    }


def _check_one_file(options: ConvertOptions, given: dict[str, str]) -> None:
    """Refuses what one file cannot have, also where it is the default of the other forms."""
    true_anyway = {"compressor"} if options.compressor == "none" else set()
    excluded = [option for name, option in given.items() if name in _NOT_IN_ONE_FILE - true_anyway]
    if excluded:
        raise click.UsageError(
            f"--one-file excludes {', '.join(excluded)}: it makes a plain EROFS file system, not compressed, "
            "and no Nydus image"
        )
    try:
        check_options(options)
    except ValueError as error:
        raise click.UsageError(f"--one-file: {error}") from error


@click.command(epilog=_VERIFY_STATUS)
@click.argument("reference", metavar="REF")
@click.option(
    "--key", "key_files", type=click.Path(path_type=Path), required=True, multiple=True,
    help="Public key file (PEM); given several times, any of them may have signed.",
)  # fmt: skip
@click.option("--deep", is_flag=True, help="Read every blob and check every stored byte.")
@click.option("--repository", "names", multiple=True, help="Name it was published under, for a mirror.")
@click.option("--builder", "builders", multiple=True, help="Trusted builder id; default: ours.")
@client_options
def verify(
    reference: str,
    key_files: tuple[Path, ...],
    deep: bool,
    names: tuple[str, ...],
    builders: tuple[str, ...],
    clients: Clients,
) -> None:
    """Verify the converted image REF.

    REF is HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST, with or without docker:// before it. Where it fails,
    the rule is named.
    """
    wanted = _reference(reference)
    with errors_in_one_line(clients), _verification_failed():
        policy = VerificationPolicy(
            keys=tuple(VerificationKey.load(path) for path in key_files),
            repositories=frozenset({f"{wanted.host}/{wanted.repository}", *names}),
            builder_ids=frozenset(builders or {DEFAULT_BUILDER_ID}),
        )
        source = clients(wanted.host)
        try:
            report = verify_image(source, wanted.repository, wanted.locator, policy, deep=deep)
        except NotFoundError as error:  # a manifest or blob that another one names
            missing = f"verification failed: a part of the image is missing: {one_line(error)}"
            raise _VerificationFailed(missing) from error
    for line in describe(report):
        click.echo(line)


def _reference(text: str) -> Reference:
    """Reads the name of an image in a registry, with a tag or a digest."""
    try:
        wanted = Reference.parse(text.removeprefix("docker://"))
        _ = wanted.locator
    except InvalidReferenceError as error:
        if text.startswith(("oci:", "oci-archive:")):
            problem = f"{text!r}: a layout holds no signatures; verify the image in its registry"
            raise WrongCommandLine(problem) from error
        form = "HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST"
        raise WrongCommandLine(f"{text!r} is not {form}: {error}") from error
    return wanted


def describe(report: VerificationReport) -> Iterator[str]:
    """A verification for people."""
    yield f"verified {report.reference}: {report.digest}"
    if report.index is not None:
        yield f"  index of {len(report.images)} images, made from {report.index.provenance.source_digest}"
    for image in report.images:
        yield f"  image {image.digest}, made from {image.chunk_manifest.source.digest}"
        checked = "every byte checked" if report.deep else "chunk lists checked"
        yield f"    {len(image.chunk_manifest.blobs)} blobs, {image.chunk_count} chunks, {checked}"
        if image.chunk_manifest.references:
            yield f"    and {len(image.chunk_manifest.references)} layers of the source, which have the data"
        for signed in image.signatures:
            yield f"    signed: {signed.predicate_type} by key {signed.key_hint}"
    for digest in report.kept:
        yield f"  image {digest}, as the source has it"
    yield "  rules: " + ", ".join(f"{rule.value} {rule.name.lower()}" for rule in report.rules)
