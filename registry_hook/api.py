"""What people and monitors read: health, jobs and metrics. Nothing here changes anything."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from registry_hook.errors import UnavailableError
from registry_hook.jobs.model import Job, JobQuery, Jobs, JobState, Step

MAX_LIMIT: Final = 500
_MAX_OFFSET: Final = 1_000_000


class BadQueryError(ValueError):
    """A query parameter that cannot be used; the message is for the caller."""


def blueprint(
    jobs: Jobs, metrics: CollectorRegistry, ready: Callable[[], dict[str, str]], token: str | None
) -> Blueprint:
    """The routes, for Flask.

    Args:
        jobs: what to show.
        metrics: what `/metrics` exports.
        ready: names what this process needs and what is wrong with each, empty text for nothing.
        token: what readers of jobs and metrics must send as a bearer token; None lets everybody read. Health
            is always open, since orchestrators ask without credentials.
    """
    routes = Blueprint("api", __name__)

    @routes.errorhandler(UnavailableError)
    def unavailable(error: UnavailableError) -> tuple[Response, int]:
        return jsonify(error=" ".join(str(error).split())[:500]), 503

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @routes.get("/readyz")
    def readyz() -> tuple[Response, int]:
        problems = {name: problem for name, problem in ready().items() if problem}
        body = jsonify(status="not ready" if problems else "ready", problems=problems)
        return body, 503 if problems else 200

    @routes.get("/v1/jobs")
    def list_jobs() -> tuple[Response, int] | Response:
        if not _may_read(token):
            return _refusal()
        try:
            query = parse_query(request.args.to_dict(flat=False))
        except BadQueryError as error:
            return jsonify(error=str(error)), 400
        found = jobs.list_jobs(query)
        more = query.offset + query.limit if len(found) == query.limit else None
        return jsonify(jobs=[job_json(job) for job in found], next_offset=more)

    @routes.get("/v1/jobs/<job_id>")
    def show_job(job_id: str) -> tuple[Response, int] | Response:
        if not _may_read(token):
            return _refusal()
        job = jobs.get([job_id]).get(job_id)
        if job is None:
            return jsonify(error=f"there is no job {job_id}"), 404
        return jsonify(job_json(job) | {"steps": [step_json(step) for step in jobs.steps(job_id)]})

    @routes.get("/metrics")
    def export() -> tuple[Response, int] | Response:
        if not _may_read(token):
            return _refusal()
        return Response(generate_latest(metrics), content_type=CONTENT_TYPE_LATEST)

    return routes


def parse_query(values: dict[str, list[str]]) -> JobQuery:
    """Reads the query of `GET /v1/jobs`: `kind` and `state` (both repeatable), `limit`, `offset`.

    Raises:
        BadQueryError: an unknown name or state, or a number out of range.
    """
    unknown = sorted(set(values) - {"kind", "state", "limit", "offset"})
    if unknown:
        raise BadQueryError(f"unknown parameter {unknown[0]!r}; there are kind, state, limit and offset")
    try:
        states = tuple(JobState(value) for value in values.get("state", []))
    except ValueError as error:
        known = ", ".join(state.value for state in JobState)
        raise BadQueryError(f"state is one of {known}") from error
    return JobQuery(
        kinds=tuple(values.get("kind", [])),
        states=states,
        limit=_number(values, "limit", 50, 1, MAX_LIMIT),
        offset=_number(values, "offset", 0, 0, _MAX_OFFSET),
    )


def job_json(job: Job) -> dict[str, object]:
    """A job for a reader."""
    return {
        "id": job.job_id,
        "kind": job.kind,
        "state": job.state.value,
        "arguments": job.arguments,
        "result": job.result,
        "error": job.error,
        "bad_input": job.bad_input,
        "attempts": job.attempts,
        "created": _time(job.created_s),
        "started": _time(job.started_s),
        "ended": _time(job.ended_s),
    }


def step_json(step: Step) -> dict[str, object]:
    """A step for a reader."""
    return {
        "name": step.name,
        "result": step.result,
        "error": step.error,
        "started": _time(step.started_s),
        "ended": _time(step.ended_s),
    }


class JobCollector(Collector):
    """Counts jobs when the metrics are read, from the job database: it knows of all processes."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def collect(self) -> Iterable[Metric]:
        """One gauge with a sample for each kind and state."""
        family = GaugeMetricFamily("dragonhook_jobs", "Jobs by kind and state.", labels=["kind", "state"])
        for (kind, state), count in sorted(self._jobs.counts().items(), key=lambda item: str(item[0])):
            family.add_metric([kind, state.value], count)
        yield family


def _may_read(token: str | None) -> bool:
    if token is None:
        return True
    given = request.headers.get("Authorization", "").encode("latin-1", "replace")
    return hmac.compare_digest(given, f"Bearer {token}".encode())


def _refusal() -> tuple[Response, int]:
    response = jsonify(error="the token is missing or wrong")
    response.headers["WWW-Authenticate"] = "Bearer"
    return response, 401


def _number(values: dict[str, list[str]], name: str, default: int, low: int, high: int) -> int:
    text = values.get(name, [str(default)])[-1]
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        raise BadQueryError(f"{name} is a number from {low} to {high}")
    return int(text)


def _time(seconds: float | None) -> str | None:
    return (
        None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    )
