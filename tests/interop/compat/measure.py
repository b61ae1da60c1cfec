"""Converts an image to a form, and asks every reader what it sees."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Final

from converter.dictionary_reader import read_dictionary
from converter.image import convert_image
from converter.one_file import convert_to_one_file
from converter.rafs.reader import read_bootstrap
from tests.converter.sharing_images import as_dictionary
from tests.interop.blobs import device_tags, expand
from tests.interop.compat import theirs
from tests.interop.compat.forms import DOCKER, FORMS, Form
from tests.interop.compat.reference_layers import ReferencedContents, expand_referenced
from tests.interop.compat.subjects import LAYERS, Subject, earlier_image, subjects, tars_of
from tests.interop.containerd import Containerd
from tests.interop.conversion import Conversion, convert, lay_out
from tests.interop.read_back import by_reader
from tests.interop.readers import by_fsck, by_kernel, by_nydusd, check
from tests.peers.mounts import directory_backend, nydusd_mount
from tests.peers.programs import ProgramError
from tests.trees import Tree, differences, forget_times, snapshot

READERS: Final = {
    "c": "`nydus-image check` accepts the bootstrap",
    "n": "nydusd, by FUSE and with every chunk's digest checked, shows what containerd unpacks on overlayfs",
    "o": "our own reader shows the same, every chunk's digest checked",
    "f": "`fsck.erofs --extract` of erofs-utils 1.5 gives the same names, types and bytes",
    "k": "the kernel's EROFS driver shows the same",
    "m": "`nydus-image merge` of the bootstraps inside our layer blobs gives the same image",
    "d": "`nydus-image create --chunk-dict` with our bootstrap refers to our chunks instead of storing them",
    "r": "our reader shows of the image that nydus-image makes of the same layers what nydusd shows of it",
}
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
NO_CONTENT: Final = "no content"
# What `fsck.erofs --extract` of erofs-utils 1.5 does not write.
_LOST_BY_FSCK: Final = ("mode", "uid", "gid", "mtime_s", "links", "group", "xattrs")
Ask = Callable[[], Mapping[str, str]]
Verdict = dict[str, str]  # by the letters of READERS: "" for accepted, else what was seen instead


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Args:
        row: title of the feature.
        column: title of the form.
        verdict: of every reader that was asked.
    """

    row: str
    column: str
    verdict: Verdict


class Measurement:
    """One image in one form.

    Args:
        subject: the image.
        form: the form.
        work: an empty directory.
    """

    def __init__(self, subject: Subject, form: Form, work: Path) -> None:
        self._subject = subject
        self._form = form
        self._work = work
        self._by_directory = _split(subject.truth)
        self._options = replace(form.options, include_foreign=True)
        self._dictionary: tuple[str | Path, ...] = ()
        self._expanded: dict[str, Path] = {}

    def cells(self) -> list[Cell]:
        """Asks everybody."""
        asked = self._one_file() if self._form.is_one_file else self._readers()
        seen = {letter: _attempt(ask) for letter, ask in asked.items()}
        return [
            Cell(
                feature.title,
                self._form.title,
                {letter: _worst(seen[letter], feature.directories) for letter in seen},
            )
            for feature in self._subject.features
        ]

    def _readers(self) -> dict[str, Ask]:
        """Those that can know the form, by their letters."""
        conversion = self._convert()
        asked: dict[str, Ask] = {
            "c": lambda: self._checked(conversion),
            "n": lambda: self._compare(by_nydusd(conversion, self._work / "nydusd")),
            "o": lambda: self._compare(self._ours(conversion)),
        }
        if self._form.is_erofs:
            asked |= self._erofs_readers(conversion.bootstrap, self._devices(conversion))
            asked["m"] = lambda: self._merged(conversion)
        if self._form.reference is not None:
            asked["d"] = lambda: self._dictionary_of_theirs(conversion)
            asked["r"] = self._reference
        return asked

    def _erofs_readers(self, bootstrap: Path, devices: Sequence[Path]) -> dict[str, Ask]:
        fsck, kernel = self._work / "fsck", self._work / "kernel"
        return {
            "f": lambda: self._compare(by_fsck(bootstrap, devices, fsck), _LOST_BY_FSCK),
            "k": lambda: self._compare(by_kernel(bootstrap, devices, kernel)),
        }

    def _one_file(self) -> dict[str, Ask]:
        image, directory = self._subject.image, self._work / "one"
        directory.mkdir()
        made = convert_to_one_file(image.manifest, image.config, image.open_layer, directory, self._options)
        return self._erofs_readers(made.path, [])

    def _convert(self) -> Conversion:
        if not self._form.borrows:
            return convert(self._subject.image, self._work / "converted", self._options)
        earlier, image = earlier_image(), self._subject.image
        lender = convert(earlier, self._work / "earlier", self._options)
        dictionary = read_dictionary([as_dictionary(lender.image, earlier)], self._options)
        (self._work / "made").mkdir()
        made = convert_image(
            image.manifest, image.config, image.open_layer, self._work / "made", self._options,
            dictionary=dictionary,
        )  # fmt: skip
        conversion = lay_out(image, made, self._work / "converted")
        for blob in lender.blobs.iterdir():
            if not (conversion.blobs / blob.name).exists():
                (conversion.blobs / blob.name).hardlink_to(blob)
        self._dictionary = ("--chunk-dict", f"bootstrap={lender.bootstrap}")
        return conversion

    def _ours(self, conversion: Conversion) -> Tree:
        bootstrap = read_bootstrap(conversion.bootstrap.read_bytes())
        if not self._options.oci_ref:
            return by_reader(bootstrap, conversion.blobs)
        contents = ReferencedContents(bootstrap, self._devices(conversion))
        return by_reader(bootstrap, conversion.blobs, contents)

    def _devices(self, conversion: Conversion, bootstrap: Path | None = None) -> list[Path]:
        """The blobs of a bootstrap as the kernel reads them, with names so short that it takes 127."""
        tags = list(device_tags((bootstrap or conversion.bootstrap).read_bytes()))
        if self._options.kernel_mountable:
            return [conversion.blobs / tag for tag in tags]
        (self._work / "d").mkdir(exist_ok=True)
        for tag in tags:
            if tag not in self._expanded:
                self._expanded[tag] = self._work / "d" / str(len(self._expanded))
                if not expand_referenced(conversion, tag, self._expanded[tag]):
                    expand((conversion.blobs / tag).read_bytes(), self._expanded[tag])
        return [self._expanded[tag] for tag in tags]

    def _checked(self, conversion: Conversion) -> Mapping[str, str]:
        check(conversion.bootstrap)
        return dict.fromkeys(self._by_directory, "")

    def _merged(self, conversion: Conversion) -> Mapping[str, str]:
        """Mounted by the kernel: what is wrong in a merged bootstrap shall not hide the rest of it."""
        merged = theirs.merge_ours(conversion, self._work / "merge", *self._dictionary)
        read_bootstrap(merged.read_bytes())
        return self._compare(by_kernel(merged, self._devices(conversion, merged), self._work / "merged"))

    def _dictionary_of_theirs(self, conversion: Conversion) -> Mapping[str, str]:
        packed = [one for one, _ in self._subject.packed]
        layer = theirs.contents([*self._subject.cases, *packed])
        shared = theirs.shared_directories(
            conversion.bootstrap, layer, self._work / "dictionary", *self._form.reference or ()
        )
        return {
            name: "" if shared.get(name) else ("chunks stored again" if name in shared else NO_CONTENT)
            for name in self._by_directory
        }

    def _reference(self) -> Mapping[str, str]:
        """Theirs, without the cases that nydus-image refuses, which would take all others with them."""
        if len(self._subject.image.manifest.layers) >= LAYERS:
            return dict.fromkeys(self._by_directory, "not asked: nydus-image would run once for each layer")
        refused = {name: why for name in self._by_directory for why in _refusals(name)}
        accepted = [one for one in self._subject.cases if one.name not in refused]
        tars = [*tars_of(accepted), *(tar for _, tar in self._subject.packed)]
        if not tars:
            return refused
        bootstrap, blobs = theirs.build(tars, self._work / "theirs", *self._form.reference or ())
        ours = by_reader(read_bootstrap(bootstrap.read_bytes()), blobs)
        start_s = int(time.time())
        mount = nydusd_mount(
            bootstrap, directory_backend(blobs), self._work / "theirs-mounted", validate=True
        )
        with mount as mountpoint:
            shown = forget_times(snapshot(mountpoint), start_s)
        seen = _split(ours)
        return {
            name: refused.get(name) or _first(differences(nodes, seen.get(name, {})))
            for name, nodes in (_split(shown) | dict.fromkeys(refused, Tree())).items()
        }

    def _compare(self, shown: Tree, ignore: Sequence[str] = ()) -> dict[str, str]:
        """The first difference in each directory."""
        seen = _split(shown)
        found = {
            name: _first(differences(nodes, seen.get(name, {}), (*ignore, "stat_links")))
            for name, nodes in self._by_directory.items()
        }
        extra = sorted(seen.keys() - self._by_directory.keys())
        return {
            name: why or (f"{extra[0]} should not be there" if extra else "") for name, why in found.items()
        }


def measure_all(odd_tree: Tree, containerd: Containerd) -> list[Cell]:
    """The whole table.

    Args:
        odd_tree: what the odd image has to look like.
        containerd: says what the other images have to look like.
    """
    images = subjects(odd_tree, containerd)
    with ThreadPoolExecutor(2) as pool:  # most of the time goes by in other programs
        cells = [cell for column in pool.map(partial(measure, images), FORMS) for cell in column]
    return cells + measure_same_bytes(images, DOCKER, FORMS[0], cells)


def measure(images: Sequence[Subject], form: Form) -> list[Cell]:
    """One column."""
    found = []
    for subject in images:
        work = Path(tempfile.mkdtemp(prefix="dh"))
        try:
            found += Measurement(subject, form, work).cells()
        finally:
            shutil.rmtree(work)
    return found


def measure_same_bytes(
    images: Sequence[Subject], form: Form, like: Form, cells: Sequence[Cell]
) -> list[Cell]:
    """A column whose blobs and bootstraps have the bytes of another one: its readers see the same.

    Raises:
        AssertionError: the bytes differ.
    """
    for subject in images:
        work = Path(tempfile.mkdtemp(prefix="dh"))
        try:
            made = [
                convert(subject.image, work / one.title, replace(one.options, include_foreign=True))
                for one in (form, like)
            ]
            for conversions in zip(*(one.image.blobs for one in made), strict=True):
                assert len({blob.descriptor.digest for blob in conversions}) == 1
            assert made[0].bootstrap.read_bytes() == made[1].bootstrap.read_bytes()
        finally:
            shutil.rmtree(work)
    return [replace(cell, column=form.title) for cell in cells if cell.column == like.title]


def _refusals(name: str) -> list[str]:
    return [why for pattern, why in theirs.REFUSED.items() if fnmatchcase(name, pattern)][:1]


def _attempt(ask: Ask) -> Mapping[str, str]:
    """The answer; if the reader refuses the whole image, that for every directory."""

    try:
        return ask()
    except ProgramError as error:
        lines = [_COLOUR.sub("", line).strip() for line in str(error).splitlines()]
        last = [line for line in lines if line][-1]
        return defaultdict(lambda: f"refused: {last}")


def _split(tree: Tree) -> dict[str, Tree]:
    """A tree by the directories in its root."""
    found: dict[str, Tree] = defaultdict(dict)
    for path, node in tree.items():
        if path != b".":
            found[path.split(b"/")[0].decode()][path] = node
    return dict(found)


def _worst(answers: Mapping[str, str], directories: Sequence[str]) -> str:
    """What is wrong with the first directory that is not right."""
    found = [why for name in directories if (why := answers[name]) != NO_CONTENT]
    return next((why for why in found if why), "") if found else NO_CONTENT


def _first(lines: Sequence[str]) -> str:
    return lines[0] if lines else ""
