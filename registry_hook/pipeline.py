"""What happens after a push, on one screen. The only file that knows all the stages.

::

    push ─► publication ─ resolve ─► find ─► conversion ────────► publish ─► <tag>-nydus ─► seed
                             ▲                  │                    │
                             └── the tag moved ─┼────────────────────┘
                                                ├─ image: begin, convert, store, upload, sign
                                                └─ index: begin, its images as jobs of their own, assemble,
                                                sign

Two kinds of job, so that each can be repeated for itself: a conversion belongs to a digest and is run once
while it is active; a publication belongs to one event, or one observation of a sweep, and asks the registry
again what the tag means. So A, B, A in a row ends at A, and a second tag on a digest is published without
converting again.

Each step may be run twice and then finds its own work done: everything is stored under its digest, and times
in statements come from the kept results of earlier steps. The tag is moved last, after everything it leads
to.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from converter.oci import Digest
from registry_hook import publish, sweep
from registry_hook.errors import JobFailed
from registry_hook.jobs.model import JobKind, JsonObject, Run
from registry_hook.requests import (
    IMAGE,
    INDEX,
    PUBLICATION,
    SWEEP,
    ConversionRequest,
    PublicationRequest,
    text,
)
from registry_hook.services import Services
from registry_hook.stages import assemble, begin, convert, find, resolve, seed, sign, upload

# A tag that moves more often while we look has newer events of its own.
_MAX_MOVES: Final = 10


def publication(services: Services, run: Run, arguments: JsonObject) -> JsonObject:
    """Brings `<tag>-nydus` in line with what the tag means now."""
    request = PublicationRequest.from_json(arguments)
    for _ in range(_MAX_MOVES):
        seen = run.step("resolve", partial(resolve.resolve_tag, services, request))
        if "skipped" in seen:
            return seen
        source = ConversionRequest(
            text(seen, "kind"),
            request.repository,
            Digest.parse(text(seen, "digest")),
            services.settings(request.repository),
            request.priority,
        )
        converted = converted_image(services, run, source)
        published = run.step("publish", partial(publish.publish_tag, services, request, source, converted))
        if "published" in published:
            return {**published, **run.step("seed", partial(seed.seed, services, request, converted))}
        if "moved" not in published:
            return published
    raise JobFailed(f"{request.repository}:{request.tag} moved {_MAX_MOVES} times while it was published")


def converted_image(services: Services, run: Run, source: ConversionRequest) -> JsonObject:
    """The result of a conversion: one that is there, one that is running, or a new one."""
    found = run.step("find", partial(find.find_conversion, services, source))
    return found if "digest" in found else run.wait_for(find.run_of(source, found))


def image(services: Services, run: Run, arguments: JsonObject) -> JsonObject:
    """Converts one image; nothing leaves this machine before all of it is converted."""
    source = ConversionRequest.from_json(IMAGE, arguments)
    begun = run.step("begin", partial(begin.begin_image, services, source))
    with services.spool.directory(run.job_id) as spool:
        made = run.step("convert", partial(convert.convert, services, source, begun, spool))
        run.step("store", partial(upload.store_blobs, services, source, begun, spool))
        sent = run.step("upload", partial(upload.upload_image, services, source, begun, spool))
        run.step("sign", partial(sign.sign_converted, services, source, begun, made, sent, run.job_id, spool))
    return made


def index(services: Services, run: Run, arguments: JsonObject) -> JsonObject:
    """Converts the images of an index, each by a job of its own, and makes an index of the results."""
    source = ConversionRequest.from_json(INDEX, arguments)
    begun = run.step("begin", partial(begin.begin_index, services, source))
    children = begin.child_requests(source, begun)
    found = [run.step("find", partial(find.find_conversion, services, child)) for child in children]
    missing = {c: find.run_of(c, f) for c, f in zip(children, found, strict=True) if "digest" not in f}
    for job in missing.values():
        run.start(job)
    images = [
        run.wait_for(missing[child]) if child in missing else known
        for child, known in zip(children, found, strict=True)
    ]
    made = run.step("assemble", partial(assemble.assemble_index, services, source, begun, images))
    run.step("sign", partial(sign.sign_index_of, services, source, begun, made, run.job_id))
    return made


def sweep_registry(services: Services, run: Run, _arguments: JsonObject) -> JsonObject:
    """Finds tags without their converted image and asks for publications."""
    return run.step("look", partial(sweep.sweep, services))


def kinds(services: Services, *, conversions: int, publications: int) -> list[JobKind]:
    """All kinds of job, and how many of each a worker runs at a time.

    Publications and indexes mostly wait for conversions. Each kind has places of its own, so that waiting
    jobs never take those of the jobs they wait for.
    """
    return [
        JobKind(PUBLICATION, partial(publication, services), publications),
        JobKind(INDEX, partial(index, services), publications),
        JobKind(IMAGE, partial(image, services), conversions),
        JobKind(SWEEP, partial(sweep_registry, services), 1),
    ]
