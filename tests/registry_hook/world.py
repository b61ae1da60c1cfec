"""Services over a simulated registry, and images to push into it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from converter.oci import (
    Descriptor,
    Digest,
    ImageIndex,
    ImageManifest,
    encode_json,
    media_types,
    parse_manifest,
)
from converter.options import ConvertOptions
from p2p_seed.store import open_store
from p2p_seed.supernode import NoneEngine
from registry_hook import pipeline
from registry_hook.jobs.locks import FileLocks
from registry_hook.jobs.model import JobRequest, JsonObject, Run
from registry_hook.requests import IMAGE, INDEX, PUBLICATION, SWEEP, PublicationRequest
from registry_hook.services import Services
from registry_hook.spool import Spool
from signer.keys import SigningKey
from tests.images.layout import Image, build_image
from tests.images.tar import DIRECTORY, Entry, encode_tar
from tests.registry_hook.fake_jobs import FakeJobs, FakeRun
from tests.registry_hook.simulated_registry import SimulatedRegistry

REPOSITORY = "demo/app"
WORKFLOWS = {
    PUBLICATION: pipeline.publication, IMAGE: pipeline.image, INDEX: pipeline.index,
    SWEEP: pipeline.sweep_registry,
}  # fmt: skip


def small_image(content: str = "hello", architecture: str = "amd64") -> Image:
    """An image of one small layer that differs by `content`."""
    entries = [Entry(b"etc/", kind=DIRECTORY), Entry(b"etc/motd", content=content.encode())]
    image = build_image([encode_tar(entries)])
    return image if architecture == "amd64" else _for(image, architecture)


def _for(image: Image, architecture: str) -> Image:
    """The same image with another architecture in its config."""
    config = image.config.replace(b'"amd64"', f'"{architecture}"'.encode())
    descriptor = Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config))
    old = json.loads(image.manifest.raw)
    manifest = parse_manifest(encode_json(old | {"config": descriptor.to_json()}))
    assert isinstance(manifest, ImageManifest)
    return Image(manifest, config, image.blobs | {descriptor.digest: config})


@dataclass
class World:
    """Everything that a job touches, with a clock that only `sleep` moves."""

    directory: Path
    registry: SimulatedRegistry = field(default_factory=SimulatedRegistry)
    jobs: FakeJobs = field(default_factory=FakeJobs)
    now_s: float = 1_800_000_000.0
    ran: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._names = (f"event-{number}" for number in itertools.count())
        self.services = Services(
            registry=self.registry.client(),
            registry_name="registry.test:5000",
            store=open_store(f"filesystem:{self.directory / 'store'}", create=True),
            seeding=NoneEngine(),
            signer=SigningKey.load_or_generate(self.directory / "key.pem"),
            builder_id="https://dragonhook.dev/builder",
            options=ConvertOptions(threads=1),
            spool=Spool(self.directory / "spool"),
            locks=FileLocks(self.directory / "locks"),
            jobs=self.jobs,
            now_s=lambda: self.now_s,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def push(self, tag: str | None, image: Image, repository: str = REPOSITORY) -> Digest:
        """Pushes an image, as a user does."""
        for digest, content in image.blobs.items():
            self.registry.blobs[repository, str(digest)] = content
        return self.registry.push(repository, tag, image.manifest.raw, image.manifest.media_type)

    def push_index(self, tag: str | None, entries: Sequence[dict[str, object]]) -> Digest:
        """Pushes an index with the entries given."""
        document = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": list(entries)}
        return self.registry.push(REPOSITORY, tag, encode_json(document), media_types.OCI_INDEX)

    def event(self, tag: str, pushed: Digest | None) -> JsonObject:
        """Runs the publication of an event to its end."""
        job = PublicationRequest(REPOSITORY, tag, pushed, self.now_s).job(next(self._names))
        return self.run(job)

    def run(self, job: JobRequest) -> JsonObject:
        """Runs a job, and all that it waits for, as the engine does: one id once."""
        self.jobs.enqueue(job)
        kept = self.jobs.jobs[job.job_id]
        if kept.result is not None:
            return kept.result
        self.ran.append(job.job_id)
        run: Run = FakeRun(job.job_id, self.run)
        result = WORKFLOWS[job.kind](self.services, run, kept.arguments)
        self.jobs.finish(job.job_id, result)
        return result

    def tag(self, tag: str) -> str | None:
        """What a tag of the repository points to."""
        return self.registry.tags.get((REPOSITORY, tag))

    def index(self, reference: str) -> ImageIndex:
        """An index in the registry, by tag or digest."""
        digest = self.registry.tags.get((REPOSITORY, reference), reference)
        index = parse_manifest(self.registry.manifests[REPOSITORY, digest].raw)
        assert isinstance(index, ImageIndex)
        return index
