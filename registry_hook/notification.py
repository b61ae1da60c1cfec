"""What a notification of the registry asks for: pure, from bytes to decisions.

Distribution sends `{"events": [...]}` with media type `…events.v1+json` (2.8) or `…events.v2+json` (3.x); the
shapes differ only in which empty fields are left out (Distribution `notifications/event.go` 2.8.2 and 3.1.2).
The schema allows several events in a body, so any number up to a bound is read.

Rules:
 - Nothing here raises for what a sender may send: the registry repeats a refused event for ever and all that
   is behind it waits, so what cannot be understood is set aside.
 - `target.url`, `request` and `actor` are not read: a client can forge all of them.
 - Only pushes of a manifest under a tag become jobs. Children of an index arrive without a tag and are
   converted through their index. Whether the image is a product of ours is decided later, from its content.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from converter.oci import Digest, InvalidDigestError, media_types
from converter.oci.reference import is_repository, is_tag

CONTENT_TYPES: Final = (
    "application/vnd.docker.distribution.events.v1+json",
    "application/vnd.docker.distribution.events.v2+json",
)
# Both registry versions send one. The bound keeps a hostile body from becoming a million objects.
MAX_EVENTS: Final = 10_000
# Fallback referrers indexes, cosign's .sig/.att/.sbom and our own artifact tags all begin like this.
_ARTIFACT_TAG: Final = re.compile(r"sha256-[0-9a-f]{64}(?![0-9a-f]).*")
_MAX_ID: Final = 200


@dataclass(frozen=True, slots=True)
class Instance:
    """One run of one registry process: a new id means that it restarted and lost its queue."""

    address: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class WantedPush:
    """A manifest pushed under a tag.

    Args:
        event_id: unique for the event and the same in every retry of it.
        digest: what was pushed; the tag may point elsewhere by now, or not yet exist.
    """

    event_id: str
    repository: str
    tag: str
    digest: Digest
    instance: Instance | None


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that is understood and not wanted."""

    reason: str
    instance: Instance | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A body or an event that is not understood; the body is kept for a person to look at."""

    reason: str
    instance: Instance | None = None


Decision: TypeAlias = WantedPush | Ignored | SetAside


def is_artifact_tag(tag: str) -> bool:
    """Whether a tag names a referrers index, a signature or another artifact of a digest, not an image."""
    return _ARTIFACT_TAG.fullmatch(tag) is not None


def decide(body: bytes, content_type: str | None) -> list[Decision]:
    """Reads a notification.

    Args:
        body: the request's body, already bounded by the server.
        content_type: the request's Content-Type, parameters included.

    Returns:
        One decision an event, in order; or a single `SetAside` for a body that is no envelope.
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type not in CONTENT_TYPES:
        return [SetAside(f"the content type is {media_type[:100]!r}, not a registry notification")]
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        return [SetAside("the body is not JSON")]
    events = envelope.get("events") if isinstance(envelope, dict) else None
    if not isinstance(events, list):
        return [SetAside("the body has no list of events")]
    if len(events) > MAX_EVENTS:
        return [SetAside(f"the body has {len(events)} events, over the limit of {MAX_EVENTS}")]
    return [_decide_event(event) for event in events]


def _decide_event(event: object) -> Decision:
    if not isinstance(event, dict):
        return SetAside("an event is not an object")
    instance = _instance(event.get("source"))
    action = event.get("action")
    if action in ("pull", "mount", "delete"):
        return Ignored(f"action {action}", instance)
    if action != "push":
        return SetAside(f"unknown action {str(action)[:40]!r}", instance)
    target = event.get("target")
    if not isinstance(target, dict):
        return SetAside("a push without a target", instance)
    return _decide_push(event.get("id"), target, instance)


def _decide_push(event_id: object, target: dict[str, object], instance: Instance | None) -> Decision:
    media_type, tag = target.get("mediaType") or "", target.get("tag") or ""
    if media_type == "application/octet-stream":
        return Ignored("a blob", instance)
    if media_type and media_type not in media_types.ACCEPT_MANIFESTS:
        return Ignored("not an image manifest or index", instance)
    if not target.get("digest"):
        return SetAside("a push without a digest", instance)
    if not tag:
        return Ignored("a manifest without a tag", instance)
    repository = target.get("repository")
    if not isinstance(tag, str) or not is_tag(tag):
        return SetAside("the tag is malformed", instance)
    if not isinstance(repository, str) or not is_repository(repository):
        return SetAside("the repository is malformed", instance)
    if is_artifact_tag(tag):
        return Ignored("an artifact's tag", instance)
    try:
        digest = Digest.parse(str(target["digest"]))
    except InvalidDigestError:
        return SetAside("the digest is not sha256", instance)
    if not isinstance(event_id, str) or not 0 < len(event_id) <= _MAX_ID:
        return SetAside("the event has no id", instance)
    return WantedPush(event_id, repository, tag, digest, instance)


def _instance(source: object) -> Instance | None:
    if not isinstance(source, dict):
        return None
    address, instance_id = source.get("addr"), source.get("instanceID")
    if not isinstance(instance_id, str) or not 0 < len(instance_id) <= _MAX_ID:
        return None
    return Instance(address[:_MAX_ID] if isinstance(address, str) else "", instance_id)
