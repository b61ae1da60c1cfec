"""The jobs of this application and their arguments.

::

    publication   for each event or sweep observation of a tag: converted image under `<tag>-nydus`
    image         conversion of one image
    index         conversion of an index: its images, and a converted index
    sweep         comparison of the whole registry with what is published
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from converter.oci import Digest
from registry_hook.jobs.model import JobRequest, JsonObject

PUBLICATION: Final = "publication"
IMAGE: Final = "image"
INDEX: Final = "index"
SWEEP: Final = "sweep"


@dataclass(frozen=True, slots=True)
class PublicationRequest:
    """A tag that was pushed, or that a sweep found without its converted image.

    Args:
        pushed: what the event said was pushed; None where a sweep looked at the tag itself.
        received_s: when we learned of it, seconds since the epoch. The registry sends the event before it
            writes the tag, so for some seconds after this the tag may still show its old digest, or none.
        priority: of this job and of those that it asks for (see `JobRequest`).
    """

    repository: str
    tag: str
    pushed: Digest | None
    received_s: float
    priority: int = 0

    def job(self, name: str) -> JobRequest:
        """The job, under a name that stands for the event or observation."""
        arguments = {
            "repository": self.repository,
            "tag": self.tag,
            "pushed": None if self.pushed is None else str(self.pushed),
            "received_s": self.received_s,
            **_priority_argument(self.priority),
        }
        return JobRequest(PUBLICATION, f"{PUBLICATION}-{name}", arguments, self.priority)

    @classmethod
    def from_json(cls, arguments: JsonObject) -> PublicationRequest:
        """Reads a job's arguments."""
        pushed = arguments["pushed"]
        return cls(
            repository=text(arguments, "repository"),
            tag=text(arguments, "tag"),
            pushed=None if pushed is None else Digest.parse(str(pushed)),
            received_s=float(str(arguments["received_s"])),
            priority=_priority(arguments),
        )


@dataclass(frozen=True, slots=True)
class ConversionRequest:
    """An image or index to convert.

    Args:
        kind: `IMAGE` or `INDEX`.
        settings: everything beside the source that decides the result.
        priority: of this job and of those that it asks for; it decides nothing about the result.
    """

    kind: str
    repository: str
    source: Digest
    settings: str
    priority: int = 0

    @property
    def key(self) -> str:
        """Names the conversion: equal keys, equal results."""
        whole = "\0".join((self.repository, self.source.hex, self.settings))
        return f"{self.kind}-{self.source.hex[:12]}-{hashlib.sha256(whole.encode()).hexdigest()[:20]}"

    def job(self, number: int) -> JobRequest:
        """The job of the n-th time this conversion is run, from 1."""
        arguments = {
            "repository": self.repository,
            "source": str(self.source),
            "settings": self.settings,
            **_priority_argument(self.priority),
        }
        return JobRequest(self.kind, f"{self.key}-{number}", arguments, self.priority)

    @classmethod
    def from_json(cls, kind: str, arguments: JsonObject) -> ConversionRequest:
        """Reads a job's arguments."""
        source = Digest.parse(text(arguments, "source"))
        return cls(
            kind, text(arguments, "repository"), source, text(arguments, "settings"), _priority(arguments)
        )


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A look at all tags of the registry.

    Args:
        reason: why, for people.
    """

    reason: str

    def job(self, name: str) -> JobRequest:
        """The job, under a name that stands for the occasion."""
        return JobRequest(SWEEP, f"{SWEEP}-{name}", {"reason": self.reason})


def _priority_argument(priority: int) -> dict[str, object]:
    """Left out where it is the one of a push, so that readers of a job see it where it matters."""
    return {"priority": priority} if priority else {}


def _priority(arguments: JsonObject) -> int:
    return int(str(arguments.get("priority", 0)))


def text(arguments: Mapping[str, object], name: str) -> str:
    """A string out of a job's arguments or a step's result.

    Raises:
        TypeError: it is missing or not a string: the job was written by other code than this.
    """
    value = arguments.get(name)
    if not isinstance(value, str):
        raise TypeError(f"{name} is {type(value).__name__}, not a string")
    return value
