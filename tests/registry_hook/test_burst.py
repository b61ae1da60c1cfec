"""Two hundred digests over a hundred and fifty tags in a burst, while everything is killed (Must show 6).

The webhook and the workers are killed five times each, the registry twice, always with SIGKILL. At the end
each tag's conversion is verified against what the tag means now, and nothing that was pushed or pulled
meanwhile failed for another reason than the registry being down.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from converter.oci import Digest, ImageIndex, Platform, encode_json, media_types
from registry_hook.registry import RegistryClient, RegistryEndpoint
from signer.keys import VerificationKey
from signer.verify import VerificationPolicy, verify_image
from tests.images.layout import Image
from tests.peers.stack import Stack
from tests.registry_hook.peer_images import Pusher, wait_until
from tests.registry_hook.world import small_image

pytestmark = [pytest.mark.peers, pytest.mark.timeout(1500)]

REPOSITORY = "burst/app"
PLAIN_TAGS, MOVED_TAGS, BACK_TAGS, SHARED_TAGS, INDEX_TAGS = 90, 30, 10, 18, 2
KILLS, REGISTRY_KILLS = 5, 2


def pushes(images: Iterator[Image]) -> list[list[tuple[str, Image]]]:
    """What is pushed: for each of 148 tags the images that it gets one after the other, 191 in all."""
    sequences = [[(f"plain-{n}", next(images))] for n in range(PLAIN_TAGS)]
    sequences += [[(f"moved-{n}", next(images)) for _ in range(2 + (n < 12))] for n in range(MOVED_TAGS)]
    for number in range(BACK_TAGS):
        first, second = next(images), next(images)
        sequences.append([(f"back-{number}", image) for image in (first, second, first)])
    for number in range(0, SHARED_TAGS, 2):
        image = next(images)
        sequences += [[(f"shared-{number}", image)], [(f"shared-{number + 1}", image)]]
    return sequences


class Outages:
    """When the registry was down, as the one who killed it knows."""

    def __init__(self) -> None:
        self._spans: list[list[float]] = []

    def begin(self) -> None:
        self._spans.append([time.monotonic(), float("inf")])

    def end(self) -> None:
        self._spans[-1][1] = time.monotonic()

    def cover(self, begun_s: float, ended_s: float) -> bool:
        """Whether the registry was down at any time of a request."""
        return any(begun_s <= end and start <= ended_s for start, end in self._spans)


class Reader(threading.Thread):
    """Pulls an ordinary image through the redirect again and again, as nodes do."""

    def __init__(self, url: str, image: Image, outages: Outages) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(base_url=url, follow_redirects=True, timeout=20, trust_env=False)
        self._image = image
        self._outages = outages
        self.failures: list[str] = []
        self.pulls = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.05):
            begun_s = time.monotonic()
            try:
                self._pull()
                self.pulls += 1
            except (httpx.HTTPError, AssertionError) as error:
                if not self._outages.cover(begun_s, time.monotonic()):
                    self.failures.append(f"{type(error).__name__}: {error}")

    def _pull(self) -> None:
        for digest, content in self._image.blobs.items():
            answer = self._http.get(f"/v2/{REPOSITORY}/blobs/{digest}").raise_for_status()
            assert answer.history, "blobs come from the gateway"
            assert answer.content == content


class Killer(threading.Thread):
    """Kills a program of the service, or the registry, every few seconds."""

    def __init__(self, stack: Stack, outages: Outages, done: threading.Event) -> None:
        super().__init__(daemon=True)
        self._stack = stack
        self._outages = outages
        self._done = done
        self.kills: Counter[str] = Counter()

    def run(self) -> None:
        plan = ["worker", "web"] * KILLS
        for position in (7, 3):
            plan.insert(position, "registry")
        for what in plan:
            if self._done.wait(random.uniform(2.0, 4.0)):
                return
            if what == "registry":
                self._outages.begin()
                self._stack.registry.kill()
                time.sleep(1.5)
                self._stack.registry.start()
                self._outages.end()
            else:
                kill_program(self._stack.service.pid, what)
            self.kills[what] += 1


def kill_program(supervisor: int, name: str) -> None:
    """Kills the child of `dragonhook serve` that runs a command, by its process id."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for pid in children:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if name.encode() in command:
            os.kill(int(pid), signal.SIGKILL)
            return
    # It is just being restarted after the kill before: wait for its next life.
    time.sleep(0.5)
    kill_program(supervisor, name)


def push_indexes(pusher: Pusher, images: Iterator[Image]) -> dict[str, Digest]:
    """Pushes indexes for two platforms with an attestation each."""
    pushed = {}
    for number in range(INDEX_TAGS):
        entries = []
        for architecture in ("amd64", "arm64"):
            image = small_image(f"index {number}", architecture)
            pusher.push(REPOSITORY, None, image)
            platform = Platform("linux", architecture).to_json()
            entries.append(image.manifest.descriptor.to_json() | {"platform": platform})
        attestation = next(images)
        pusher.push(REPOSITORY, None, attestation)
        unknown = Platform("unknown", "unknown").to_json()
        entries.append(attestation.manifest.descriptor.to_json() | {"platform": unknown})
        raw = encode_json({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": entries})
        pushed[f"multi-{number}"] = pusher.push_manifest(
            REPOSITORY, f"multi-{number}", raw, media_types.OCI_INDEX
        )
    return pushed


def test_a_burst_with_everything_killed(tmp_path: Path) -> None:
    images = (small_image(f"image number {number}") for number in range(1000))
    sequences = pushes(images)
    digests = {image.manifest.digest for sequence in sequences for _, image in sequence}
    # Two indexes, their four children and two attestations, and the image that is pulled all the time.
    assert len(digests) + 2 + 4 + 2 + 1 == 200
    assert len(sequences) + INDEX_TAGS == 150
    outages, done = Outages(), threading.Event()
    with Stack(tmp_path / "stack") as stack:
        pusher = Pusher(stack.registry.url, patience_s=60)
        pulled = next(images)
        pusher.push(REPOSITORY, None, pulled)
        readers = [Reader(stack.registry.url, pulled, outages) for _ in range(2)]
        killer = Killer(stack, outages, done)
        for thread in (*readers, killer):
            thread.start()
        truth = push_all(stack, sequences, images, outages)
        killer.join(300)
        assert killer.kills == {"worker": KILLS, "web": KILLS, "registry": REGISTRY_KILLS}
        wait_until(lambda: published(stack, truth), 600, "the publication of every tag")
        for reader in readers:
            reader.stop.set()
            reader.join()
        done.set()
        assert [failure for reader in readers for failure in reader.failures] == []
        assert sum(reader.pulls for reader in readers) > 50
        check_all(stack, truth)


def push_all(
    stack: Stack, sequences: list[list[tuple[str, Image]]], images: Iterator[Image], outages: Outages
) -> dict[str, Digest]:
    """Pushes everything, four at a time; a push may fail only while the registry is down.

    Returns:
        What each tag means at the end.
    """
    patient = Pusher(stack.registry.url, patience_s=60)
    hasty = Pusher(stack.registry.url)

    def push(sequence: list[tuple[str, Image]]) -> tuple[str, Digest]:
        for tag, image in sequence:
            begun_s = time.monotonic()
            try:
                hasty.push(REPOSITORY, tag, image)
            except AssertionError:
                if not outages.cover(begun_s, time.monotonic()):
                    raise
                patient.push(REPOSITORY, tag, image)
        return sequence[-1][0], sequence[-1][1].manifest.digest

    random.Random(6).shuffle(sequences)
    with ThreadPoolExecutor(4) as threads:
        truth = dict(threads.map(push, sequences))
    return truth | push_indexes(patient, images)


def published(stack: Stack, truth: dict[str, Digest]) -> bool:
    """Whether each tag has a conversion of what it means, as far as annotations tell."""
    with client(stack) as registry:
        for tag, digest in truth.items():
            if registry.resolve(REPOSITORY, f"{tag}-nydus") is None:
                return False
            converted = registry.manifest(REPOSITORY, f"{tag}-nydus")
            if converted.subject is None or converted.subject.digest != digest:
                return False
    return True


def check_all(stack: Stack, truth: dict[str, Digest]) -> None:
    """Verifies each tag, and that an image has one bundle of each kind."""
    key = VerificationKey.load(stack.service.public_key)
    policy = VerificationPolicy((key,), frozenset({stack.reference(REPOSITORY)}))
    with client(stack) as registry:
        for tag, digest in truth.items():
            assert registry.resolve(REPOSITORY, tag).digest == digest  # type: ignore[union-attr]
            report = verify_image(registry, REPOSITORY, f"{tag}-nydus", policy, deep=True)
            assert (report.index or report.images[0]).provenance.source_digest == digest
            for subject in {report.digest, *(image.digest for image in report.images)}:
                listed = registry.referrers(REPOSITORY, subject)
                kinds = Counter(
                    (entry.artifact_type, entry.annotations.get("dev.sigstore.bundle.predicateType"))
                    for entry in listed
                )
                assert set(kinds.values()) == {1}, f"{tag}: {kinds}"
        indexes = [tag for tag in truth if tag.startswith("multi-")]
        for tag in indexes:
            made = registry.manifest(REPOSITORY, f"{tag}-nydus")
            assert isinstance(made, ImageIndex)
            assert [str(entry.platform) for entry in made.manifests] == ["linux/amd64", "linux/arm64"]
        assert len(indexes) == INDEX_TAGS


def client(stack: Stack) -> RegistryClient:
    return RegistryClient(RegistryEndpoint(stack.registry.url))
