"""Compares the whole registry with what is published, and asks for what is missing.

The registry keeps its notifications in memory only and loses them at each restart, so events make things fast
and the sweep makes them right. It reads: the catalog, the tags, and of each tag one HEAD; and it fetches
manifests of converted tags, which name their source, and of tags that seem to lack one. Of the images that a
converted index names it makes a HEAD each: a garbage collection may have taken them. Nothing is deleted: a
converted tag whose source tag is gone stays, since somebody may be running it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import structlog

from converter.oci import Digest, ImageIndex, Manifest, OciError, media_types
from registry_hook.jobs.model import JobRequest, JsonObject
from registry_hook.merged_index import conversions_in, merged_from
from registry_hook.notification import is_artifact_tag
from registry_hook.publish import SUFFIX, converted_tag, is_foreign
from registry_hook.registry.errors import ContentError, ProtocolError, RefusedError
from registry_hook.requests import IMAGE, INDEX, SWEEP, ConversionRequest, PublicationRequest
from registry_hook.services import Services
from registry_hook.stages.find import all_there, last_run
from registry_hook.stages.outside import translated
from registry_hook.stages.resolve import why_not

# A registry that was there before us has thousands of tags to catch up with; a push must not wait for them.
_BACKLOG: Final = 10
# What concerns one repository or tag only: the others are looked at all the same.
_UNREADABLE: Final = (ContentError, RefusedError, ProtocolError, OciError)
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Tally:
    repositories: int = 0
    tags: int = 0
    asked: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class _Published:
    """A converted tag: what it was made from, and what the registry has of it."""

    source: Digest
    digests: frozenset[Digest]
    whole: bool


def sweep(services: Services) -> JsonObject:
    """Looks at every tag once.

    Returns:
        How many `repositories` and `tags` there are, how many publications were `asked` for, and how many
        repositories and tags were `unreadable`.

    Raises:
        RetryLater: the registry or the job database is unavailable. Repeating asks for nothing twice.
    """
    tally = _Tally()
    with translated():
        for repository in services.registry.repositories():
            tally.repositories += 1
            for tag, digest in _lacking(services, repository, tally):
                tally.asked += _ask(services, repository, tag, digest)
    _log.info("sweep done", asked=tally.asked, tags=tally.tags, repositories=tally.repositories)
    return {
        "repositories": tally.repositories,
        "tags": tally.tags,
        "asked": tally.asked,
        "unreadable": tally.unreadable,
    }


def source_of(manifest: Manifest) -> Digest | None:
    """The source that a converted image or index was made from; None for anything else."""
    named = manifest.annotations.get(media_types.ANNOTATION_SOURCE_DIGEST)
    if manifest.subject is None or named != str(manifest.subject.digest):
        return None
    return manifest.subject.digest


def _lacking(services: Services, repository: str, tally: _Tally) -> Iterator[tuple[str, Digest]]:
    """The tags whose converted image is missing or made from something else, and what they mean."""
    try:
        tags = set(services.registry.tags(repository))
    except _UNREADABLE as error:
        _skip(repository, None, error, tally)
        return
    tally.tags += len(tags)
    published: dict[str, _Published] = {}
    taken: set[str] = set()
    for tag in sorted(tag for tag in tags if tag.endswith(SUFFIX)):
        try:
            manifest = services.registry.manifest(repository, tag)
            if (source := source_of(manifest)) is not None:
                published[tag] = _published(services, repository, manifest, source)
            elif is_foreign(manifest):
                taken.add(tag)
        except _UNREADABLE as error:
            _skip(repository, tag, error, tally)
    for tag in sorted(tags):
        # A tag that only looks like a converted one is an image like any other.
        if is_artifact_tag(tag) or tag in published:
            if tag.endswith(SUFFIX) and tag.removesuffix(SUFFIX) not in tags:
                _log.info("converted tag without its source tag", repository=repository, tag=tag)
            continue
        target = converted_tag(tag)
        if target is None or target in taken:
            continue
        try:
            digest = _unpublished(services, repository, tag, published.get(target))
            if digest is not None:
                yield tag, digest
        except _UNREADABLE as error:
            _skip(repository, tag, error, tally)


def _published(services: Services, repository: str, manifest: Manifest, source: Digest) -> _Published:
    images = manifest.manifests if isinstance(manifest, ImageIndex) else ()
    digests = frozenset({manifest.digest, *(image.digest for image in images)})
    return _Published(source, digests, all_there(services, repository, images))


def _unpublished(
    services: Services, repository: str, tag: str, converted: _Published | None
) -> Digest | None:
    """What a tag means, if there is something to publish for it: a conversion, or the repair of one."""
    found = services.registry.resolve(repository, tag)
    if found is None or (converted is not None and converted.whole and converted.source == found.digest):
        return None
    manifest = services.registry.manifest(repository, str(found.digest))
    if services.merged_index and (source := merged_from(manifest)) is not None:
        if converted is not None and _is_offered(services, repository, manifest, source, converted):
            return None
        manifest = services.registry.manifest(repository, str(source))
    return found.digest if _convertible(services, repository, manifest) else None


def _is_offered(
    services: Services, repository: str, merged: Manifest, source: Digest, converted: _Published
) -> bool:
    """Whether all conversions in a merged index are there, and its converted tag is in line with it."""
    if not isinstance(merged, ImageIndex) or not converted.whole or converted.source != source:
        return False
    others = (entry for entry in conversions_in(merged) if entry.digest not in converted.digests)
    return all_there(services, repository, others)


def _convertible(services: Services, repository: str, manifest: Manifest) -> bool:
    """Whether a conversion makes sense: it is an image, and was not found to be broken."""
    if why_not(manifest, include_foreign=services.options.include_foreign) is not None:
        return False
    kind = INDEX if isinstance(manifest, ImageIndex) else IMAGE
    wanted = ConversionRequest(kind, repository, manifest.digest, services.settings(repository))
    _, last = last_run(services.jobs, wanted.job)
    return last is None or not last.bad_input


def _ask(services: Services, repository: str, tag: str, digest: Digest) -> bool:
    """Asks for a publication, unless one that a sweep asked for by the same observation is still to come."""
    name = hashlib.sha256(f"{repository}:{tag}@{digest}".encode()).hexdigest()[:20]
    wanted = PublicationRequest(repository, tag, None, services.now_s(), _BACKLOG)

    def numbered(number: int) -> JobRequest:
        # With dots, which the name of an event's job never has: a sender must not take a name of ours.
        return wanted.job(f"{SWEEP}.{name}.{number}")

    count, last = last_run(services.jobs, numbered)
    if last is not None and last.state.active:
        return False
    services.jobs.enqueue(numbered(count + 1))
    return True


def _skip(repository: str, tag: str | None, error: Exception, tally: _Tally) -> None:
    _log.warning("repository or tag cannot be read", repository=repository, tag=tag, error=str(error))
    tally.unreadable += 1
