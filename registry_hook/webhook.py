"""Where the registry's notifications arrive: `POST /v1/events/distribution`.

The acknowledgement is a promise, so 2xx is sent only when every event that is wanted is a stored job and a
body that is not understood is a stored file. The registry repeats a refused event for ever and keeps
everything behind it waiting, so anything else than 2xx is sent only for a wrong token and when storing
failed. All real work is left to the jobs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import structlog
from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry, Counter

from registry_hook.errors import NotStoredError
from registry_hook.jobs.model import JobRequest, Jobs
from registry_hook.notification import Ignored, Instance, SetAside, WantedPush, decide
from registry_hook.requests import PublicationRequest, SweepRequest
from registry_hook.set_aside import SetAsideBodies

PATH: Final = "/v1/events/distribution"
# An envelope over the limit would be refused for ever and keep all others waiting, and with
# `includereferences` a pusher decides how long it is: a manifest of 4 MiB that consists of empty strings, 3
# bytes each, comes with each on a line of its own, indented by 24, so that 39 MB arrive.
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
# A registry with a wrong token asks again every second, and a stranger may as often as they like.
_REFUSAL_LOG_INTERVAL_S: Final = 60.0
_KNOWN_INSTANCES: Final = 256
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_log = structlog.get_logger(__name__)


class Webhook:
    """Turns notifications into jobs.

    Args:
        jobs: where wanted pushes go.
        set_aside: where bodies go that are not understood.
        now_s: seconds since the epoch.
        metrics: where to count.
    """

    def __init__(
        self, jobs: Jobs, set_aside: SetAsideBodies, now_s: Callable[[], float], metrics: CollectorRegistry
    ) -> None:
        self._jobs = jobs
        self._set_aside = set_aside
        self._now_s = now_s
        self._known = _RecentInstances(_KNOWN_INSTANCES)
        self._events = Counter(
            "dragonhook_events", "Notification events by what became of them.", ["decision"], registry=metrics
        )
        self._refusals = _Refusals(now_s, metrics)

    def accept(self, body: bytes, content_type: str | None) -> None:
        """Stores what a notification asks for. When this returns, it may be acknowledged.

        Raises:
            NotStoredError: something could not be stored; the sender must retry the whole notification.
        """
        decisions = decide(body, content_type)
        for decision in decisions:
            self._notice(decision.instance)
            if isinstance(decision, WantedPush):
                self._jobs.enqueue(self._publication(decision))
        odd = [decision.reason for decision in decisions if isinstance(decision, SetAside)]
        if odd:
            path = self._set_aside.keep(body)
            _log.warning("notification set aside", reason=odd[0], events=len(odd), file=str(path))
        for decision in decisions:
            self._events.labels(_LABELS[type(decision)]).inc()

    def refuse(self, *, missing: bool, client: str | None) -> None:
        """Notes a notification that is refused because of its token.

        Args:
            missing: whether it had no token at all.
            client: the address that it came from.
        """
        self._refusals.add("missing" if missing else "wrong", client)

    def _publication(self, push: WantedPush) -> JobRequest:
        wanted = PublicationRequest(
            repository=push.repository, tag=push.tag, pushed=push.digest, received_s=self._now_s()
        )
        # The id of the event is the id of the job, so that an event sent twice is one job.
        return wanted.job(_name(push.event_id))

    def _notice(self, instance: Instance | None) -> None:
        """Asks for a sweep when a registry process is new: its predecessor's queue is lost."""
        if instance is None or self._known.has(instance.instance_id):
            return
        self._jobs.enqueue(
            SweepRequest("a registry process is new").job(f"instance-{_name(instance.instance_id)}")
        )
        self._known.add(instance.instance_id)


def blueprint(webhook: Webhook, token: str) -> Blueprint:
    """The route, for Flask.

    Args:
        webhook: what takes the notifications.
        token: what must follow `Bearer` in the Authorization header.
    """
    routes = Blueprint("webhook", __name__)
    expected = f"Bearer {token}".encode()

    @routes.post(PATH)
    def receive() -> Response:
        given = request.headers.get("Authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, expected):
            webhook.refuse(missing=not given, client=request.remote_addr)
            return Response("the token is missing or wrong\n", 401, {"WWW-Authenticate": "Bearer"})
        try:
            webhook.accept(request.get_data(cache=False), request.headers.get("Content-Type"))
        except NotStoredError as error:
            _log.error("notification not stored; the registry will send it again", error=str(error))
            return Response("not stored, send it again\n", 503)
        return Response(status=202)

    return routes


class _Refusals:
    """Counts refused notifications, and logs them so rarely that a flood of them cannot fill the log."""

    def __init__(self, now_s: Callable[[], float], metrics: CollectorRegistry) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._unlogged = 0
        self._logged_at_s: float | None = None
        self._counter = Counter(
            "dragonhook_notifications_refused",
            "Notifications refused with 401, by what is wrong with the token.",
            ["token"],
            registry=metrics,
        )

    def add(self, token: str, client: str | None) -> None:
        self._counter.labels(token).inc()
        with self._lock:
            self._unlogged += 1
            now_s = self._now_s()
            # A clock that was set back must not silence this for long.
            if self._logged_at_s is not None and 0 <= now_s - self._logged_at_s < _REFUSAL_LOG_INTERVAL_S:
                return
            refused, self._unlogged, self._logged_at_s = self._unlogged, 0, now_s
        _log.warning(
            "notifications refused because of their token", token=token, client=client, refused=refused
        )


class _RecentInstances:
    """Registry processes seen lately. Only saves work: the job's id is what prevents a second sweep."""

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._size = size
        self._seen: OrderedDict[str, None] = OrderedDict()

    def has(self, instance_id: str) -> bool:
        with self._lock:
            return instance_id in self._seen

    def add(self, instance_id: str) -> None:
        with self._lock:
            self._seen[instance_id] = None
            while len(self._seen) > self._size:
                self._seen.popitem(last=False)


_LABELS: Final = {WantedPush: "wanted", Ignored: "ignored", SetAside: "set_aside"}


def _name(sent: str) -> str:
    """A name for a job id out of what a sender chose."""
    if _PLAIN_ID.fullmatch(sent):
        return sent
    # JSON can hold half of a surrogate pair, which has no encoding in strict UTF-8.
    return hashlib.sha256(sent.encode(errors="surrogatepass")).hexdigest()
