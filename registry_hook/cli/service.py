"""Commands that run the service or talk to it: serve, worker, gateway, backfill, version.

Each loads its libraries itself: a gateway starts in a third of the time without those of a worker.
"""

from __future__ import annotations

import importlib.metadata
import secrets
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec

import click

from registry_hook import logs
from registry_hook.errors import HookError, SettingsError
from registry_hook.jobs.model import Jobs, JobState
from registry_hook.settings import Settings, load
from registry_hook.settings_sections import parse_address
from registry_hook.state import claim_state_directory, open_state_directory
from registry_hook.supervisor import PARENT_OPTION, Program, Supervisor, die_with_parent, own_program

_P = ParamSpec("_P")
# Several times what a worker leaves between two looks, by default.
_TAKEN_WITHIN_S: Final = 3.0


class _WrongSettings(click.ClickException):
    exit_code = 2


# People write it behind the command as often as before it.
_config_option = click.option(
    "--config", "config_here", type=click.Path(path_type=Path, dir_okay=False), help="Settings file."
)


def with_settings(
    process: str, *, stateless: bool = False
) -> Callable[[Callable[[Settings], None]], Callable[..., None]]:
    """Makes a command that needs the settings: reads them, sets logging up, and shows our errors in short.

    Args:
        process: what the log calls this process.
        stateless: whether it does without the state directory, as a gateway on a machine of its own.
    """

    def decorate(command: Callable[[Settings], None]) -> Callable[..., None]:
        @click.option(PARENT_OPTION, "parent_pid", type=int, hidden=True)
        @_config_option
        @click.pass_obj
        @wraps(command)
        def wrapper(config: Path | None, config_here: Path | None, parent_pid: int | None) -> None:
            if parent_pid is not None:
                die_with_parent(parent_pid)
            try:
                settings = load(config_here or config)
                logs.configure(settings.log_level, process)
                if parent_pid is None and not stateless:
                    open_state_directory(settings.state_dir)
                command(settings)
            except SettingsError as error:
                raise _WrongSettings(str(error)) from error
            except HookError as error:
                raise click.ClickException(str(error)) from error

        return wrapper

    return decorate


@click.command()
@_config_option
@click.pass_obj
def serve(config: Path | None, config_here: Path | None) -> None:
    """Run webhook, API, worker and gateway."""
    from registry_hook.wiring import start

    config = config_here or config
    try:
        settings = load(config)
        logs.configure(settings.log_level, "serve")
        open_state_directory(settings.state_dir)
        held = claim_state_directory(settings.state_dir)
        start.check(settings)
    except HookError as error:
        raise _WrongSettings(str(error)) from error
    except OSError as error:
        raise _WrongSettings(f"state_dir: {error}") from error
    supervisor = Supervisor(programs(settings, config), settings.jobs.drain_s + 10, inherited=[held])
    try:
        supervisor.run()
    except SettingsError as error:
        raise _WrongSettings(str(error)) from error


def programs(settings: Settings, config: Path | None) -> list[Program]:
    """The children of `dragonhook serve`."""
    arguments = [] if config is None else ["--config", str(config)]
    names = ["web", "worker", *(["gateway"] if settings.gateway.enabled else [])]
    return [own_program(name, arguments) for name in names]


@click.command(hidden=True)
@with_settings("web")
def web(settings: Settings) -> None:
    """Run the webhook and the API alone."""
    from registry_hook.jobs.database import prepare
    from registry_hook.jobs.dbos_client import DbosJobs
    from registry_hook.set_aside import SetAsideBodies
    from registry_hook.web import create_app
    from registry_hook.web import serve as serve_app
    from registry_hook.wiring.secrets import webhook_token

    prepare(settings.database_url)
    app = create_app(
        DbosJobs(settings.database_url),
        SetAsideBodies(settings.state_dir / "set-aside"),
        webhook_token(settings),
        read_token=settings.web.read_secret(),
    )
    serve_app(app, parse_address(settings.web.listen), settings.web.threads)


@click.command()
@with_settings("worker")
def worker(settings: Settings) -> None:
    """Run another worker (needs Postgres)."""
    from registry_hook.worker import run_worker

    run_worker(settings)


@click.command()
@with_settings("gateway", stateless=True)
def gateway(settings: Settings) -> None:
    """Run a gateway alone."""
    from registry_hook.gateway import run_gateway
    from registry_hook.wiring.gateway import gateway_settings

    run_gateway(gateway_settings(settings))


@click.command()
@with_settings("backfill")
def backfill(settings: Settings) -> None:
    """Convert what the registry holds already."""
    from registry_hook.jobs.database import prepare
    from registry_hook.jobs.dbos_client import DbosJobs
    from registry_hook.requests import SweepRequest

    prepare(settings.database_url)
    job = SweepRequest("asked for by hand").job(f"backfill-{secrets.token_hex(8)}")
    jobs = DbosJobs(settings.database_url)
    jobs.enqueue(job)
    click.echo(job.job_id)
    click.echo(_what_becomes_of(jobs, job.job_id), err=True)


def _what_becomes_of(jobs: Jobs, job_id: str) -> str:
    """Whether a worker takes a job, in one line. Only watching tells: with Postgres it may be anywhere."""
    deadline_s = time.monotonic() + _TAKEN_WITHIN_S
    while True:
        if jobs.get([job_id])[job_id].state is not JobState.QUEUED:
            return f"a worker has taken it: GET /v1/jobs/{job_id} tells how it goes on"
        if time.monotonic() > deadline_s:
            return (
                "it is kept, but no worker has taken it yet: `dragonhook serve` or `dragonhook worker` with"
                " these settings runs it, behind any sweep that is running"
            )
        time.sleep(0.1)


@click.command()
def version() -> None:
    """Show the version."""
    click.echo(importlib.metadata.version("dragonhook"))
