"""The web process: notifications and API in one Flask application behind waitress."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType

import structlog
import waitress  # type: ignore[import-untyped]  # it has no types, and three calls need none
from flask import Flask
from prometheus_client import CollectorRegistry

from registry_hook import api, webhook
from registry_hook.errors import SettingsError, UnavailableError
from registry_hook.jobs.model import JobQuery, Jobs
from registry_hook.set_aside import SetAsideBodies
from registry_hook.settings_sections import Address

_log = structlog.get_logger(__name__)


def create_app(
    jobs: Jobs,
    set_aside: SetAsideBodies,
    token: str,
    *,
    read_token: str | None = None,
    now_s: Callable[[], float] = time.time,
) -> Flask:
    """Builds the application.

    Args:
        jobs: the job database.
        set_aside: where notifications go that are not understood.
        token: what notifications must carry.
        read_token: what readers of the API must carry; None lets everybody read.
        now_s: seconds since the epoch.
    """
    metrics = CollectorRegistry()
    metrics.register(api.JobCollector(jobs))
    app = Flask("dragonhook")
    app.config["MAX_CONTENT_LENGTH"] = webhook.MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined] # the provider that Flask uses has it
    receiver = webhook.Webhook(jobs, set_aside, now_s, metrics)
    app.register_blueprint(webhook.blueprint(receiver, token))
    app.register_blueprint(api.blueprint(jobs, metrics, lambda: readiness(jobs), read_token))
    return app


def readiness(jobs: Jobs) -> dict[str, str]:
    """What is wrong with what this process needs, which is only the job database."""
    try:
        jobs.list_jobs(JobQuery(limit=1))
    except UnavailableError as error:
        return {"jobs": " ".join(str(error).split())[:300]}
    return {"jobs": ""}


def serve(app: Flask, address: Address, threads: int) -> None:
    """Serves until SIGTERM or SIGINT; requests that are being answered are finished.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    try:
        server = waitress.create_server(
            app,
            host=address.host,
            port=address.port,
            threads=threads,
            ident="dragonhook",
            max_request_body_size=webhook.MAX_BODY_BYTES,
            channel_timeout=60,
        )
    except OSError as error:
        raise SettingsError(f"web.listen: cannot listen on {address}: {error.strerror}") from error

    def stop(number: int, _frame: FrameType | None) -> None:
        _log.info("web process is stopping", signal=signal.Signals(number).name)
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    _log.info("web process is listening", address=str(address))
    try:
        server.run()
    finally:
        server.close()
