from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from contextlib import nullcontext

import httpx
import pytest

from converter.oci import Descriptor, Digest, fallback_tag, media_types
from registry_hook.registry import (
    Merge,
    ReferrersConflictError,
    read_fallback_index,
    update_fallback_index,
)
from tests.registry_hook.registry.fake import PATIENT, FakeRegistry, blob, client_of, index_bytes

SUBJECT = Digest.of(b"subject")


def entry(name: str) -> Descriptor:
    return blob(name.encode(), media_types.OCI_MANIFEST)


def adding(*names: str) -> Merge:
    """A merge that adds entries, and knows those that are there."""

    def merge(existing: bytes | None, _gone: Collection[str] = ()) -> bytes:
        found = [Descriptor.from_json(item) for item in json.loads(existing)["manifests"]] if existing else []
        return index_bytes(*found, *[entry(name) for name in names if entry(name) not in found])

    return merge


def listed(registry: FakeRegistry) -> list[Descriptor]:
    _, raw = registry.manifests[f"app:{fallback_tag(SUBJECT)}"]
    return [Descriptor.from_json(item) for item in json.loads(raw)["manifests"]]


def test_entries_are_added_to_what_is_there() -> None:
    registry = FakeRegistry()
    with client_of(registry) as client:
        assert read_fallback_index(client, "app", SUBJECT) is None
        update_fallback_index(client, "app", SUBJECT, adding("a"), nullcontext())
        descriptor = update_fallback_index(client, "app", SUBJECT, adding("b", "a"), nullcontext())
        assert client.resolve("app", fallback_tag(SUBJECT)) == descriptor
    assert listed(registry) == [entry("a"), entry("b")]


def test_nothing_new_puts_nothing() -> None:
    registry = FakeRegistry()
    with client_of(registry) as client:
        update_fallback_index(client, "app", SUBJECT, adding("a"), nullcontext())
        puts = registry.methods().count("PUT")
        update_fallback_index(client, "app", SUBJECT, adding("a"), nullcontext())
    assert registry.methods().count("PUT") == puts == 1


def foreign_writer(registry: FakeRegistry, name: str) -> Callable[[httpx.Request], httpx.Response | None]:
    """Overwrites the index right after one of our puts, from what it had read before."""

    def fault(request: httpx.Request) -> httpx.Response | None:
        if request.method != "PUT":
            return None
        before = registry.manifests.get(f"app:{fallback_tag(SUBJECT)}")
        answer = registry.answer(request)
        raw = adding(name)(before[1] if before else None, ())
        registry.manifests[f"app:{fallback_tag(SUBJECT)}"] = (media_types.OCI_INDEX, raw)
        return answer

    return fault


def test_a_foreign_writer_in_between_is_noticed_and_kept() -> None:
    registry = FakeRegistry()
    registry.faults += [foreign_writer(registry, "theirs"), foreign_writer(registry, "theirs too")]
    with client_of(registry) as client:
        update_fallback_index(client, "app", SUBJECT, adding("ours"), nullcontext())
    assert set(map(str, listed(registry))) == {str(entry(n)) for n in ("ours", "theirs", "theirs too")}


def test_a_foreign_writer_that_never_stops_is_an_error_to_retry() -> None:
    registry = FakeRegistry()
    registry.faults += [foreign_writer(registry, f"theirs {n}") for n in range(50)]
    with client_of(registry) as client, pytest.raises(ReferrersConflictError):
        update_fallback_index(client, "app", SUBJECT, adding("ours"), nullcontext())
    assert registry.methods().count("PUT") == PATIENT.attempts


def test_the_lock_is_held_from_reading_to_reading_back() -> None:
    registry = FakeRegistry()
    events: list[str] = []

    class Lock:
        def __enter__(self) -> None:
            events.append("lock")

        def __exit__(self, *_: object) -> None:
            events.append("unlock")

    def handle(request: httpx.Request) -> httpx.Response:
        events.append(request.method)
        return registry(request)

    with client_of(handle) as client:
        update_fallback_index(client, "app", SUBJECT, adding("a"), Lock())
    assert events == ["lock", "GET", "PUT", "GET", "unlock"]


def test_eight_threads_lose_nothing() -> None:
    registry = FakeRegistry()
    lock, wire = threading.Lock(), threading.Lock()

    def handle(request: httpx.Request) -> httpx.Response:
        with wire:
            return registry(request)

    with client_of(handle) as client:
        threads = [
            threading.Thread(
                target=update_fallback_index, args=(client, "app", SUBJECT, adding(f"entry {n}"), lock)
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(map(str, listed(registry))) == {str(entry(f"entry {n}")) for n in range(8)}
