"""Commands that print the configuration of the programs round the service: `config registry` and others.

They read the service's settings, and nothing else: neither network nor state directory (but for the token of
notifications, where it is asked for).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path, PurePosixPath
from typing import Final

import click

from registry_hook import logs
from registry_hook.cli.errors import WrongCommandLine
from registry_hook.cli.parameters import HttpUrlType
from registry_hook.cli.written import output_options, show
from registry_hook.errors import HookError
from registry_hook.node_config import NodeConfig
from registry_hook.node_config.addresses import NodeConfigError, reachable_url, registry_address
from registry_hook.node_config.clusters import range_cluster, seed_peer_of
from registry_hook.node_config.containerd import containerd_config
from registry_hook.node_config.docker import docker_config
from registry_hook.node_config.dragonfly import peer_config, scheduler_config, seed_config
from registry_hook.node_config.nydusd import nydusd_config
from registry_hook.node_config.registry import DEFAULT_REDIRECT_KEY, registry_config
from registry_hook.node_config.snapshotter import snapshotter_config
from registry_hook.settings import Settings, load

_PEER: Final = "Read through the Dragonfly peer of the node (gateway.peer_url)."

_config_option = click.option(
    "--config", "config_here", type=click.Path(path_type=Path, dir_okay=False), help="Settings file."
)
registry_option = click.option(
    "--registry", "registry_url", type=HttpUrlType(), help="Registry as nodes reach it; default: registry.url"
)
address_option = click.option(
    "--address", metavar="IP", help="IP address of the machine, as others reach it."
)
cluster_option = click.option(
    "--cluster", metavar="NAME", help="Which of seeding.clusters; default: gateway.cluster, else the first."
)


@click.group()
def config() -> None:
    """Print the configuration of registry, container engines, nydusd or Dragonfly for this deployment.

    Made of the settings of the service (--config), so that addresses fit. Each text says where it belongs and
    what to do next. Secrets are left out unless they are asked for.
    """


def _command(name: str) -> Callable[[Callable[..., NodeConfig]], click.Command]:
    """Makes a subcommand of a function of settings and options that gives a `NodeConfig`."""

    def decorate(generate: Callable[..., NodeConfig]) -> click.Command:
        def run(
            context: click.Context, config_here: Path | None,
            output: Path | None, file: str | None, force: bool, **options: object,
        ) -> None:  # fmt: skip
            try:
                settings = load(config_here or context.obj)
                logs.configure(settings.log_level, "config")  # on standard error, not between the lines
                generated = generate(settings, **options)
            except HookError as error:
                raise WrongCommandLine(str(error)) from error
            show(generated, output=output, name=file, force=force)

        # With the help and the options of the function, and those that all commands have.
        update_wrapper(run, generate)
        return config.command(name)(click.pass_context(output_options(_config_option(run))))

    return decorate


@_command("registry")
@click.option("--service", type=HttpUrlType(), help="Service as the registry reaches it; default: web.listen")
@click.option("--gateway", type=HttpUrlType(), help="Gateway as clients reach it; default: gateway.listen")
@click.option(
    "--redirect-key", metavar="FILE", type=click.Path(path_type=PurePosixPath), default=DEFAULT_REDIRECT_KEY,
    show_default=True, help="With gateway.cloudfront: its private key, on the registry's machine.",
)  # fmt: skip
@click.option(
    "--show-secrets", is_flag=True, help="Print the token of notifications, and not a place for it."
)
def registry(
    settings: Settings,
    service: str | None,
    gateway: str | None,
    redirect_key: PurePosixPath,
    show_secrets: bool,
) -> NodeConfig:
    """What the registry needs: notifications and redirects."""
    # It loads cryptography, which the others do without.
    from registry_hook.wiring.secrets import webhook_token

    return registry_config(
        settings.gateway,
        service or reachable_url("web.listen", settings.web.listen, "--service"),
        gateway or reachable_url("gateway.listen", settings.gateway.listen, "--gateway"),
        token=webhook_token(settings) if show_secrets else None,
        token_place=_token_place(settings),
        redirect_key=redirect_key,
    )


def _token_place(settings: Settings) -> str:
    if settings.web.token_file is not None:
        return f"in {settings.web.token_file} on the machine of the service"
    if settings.web.token is not None:
        return "web.token of the settings"
    return f"in {settings.token_file} on the machine of the service, from its first start on"


@_command("containerd")
@registry_option
@click.option("--peer", is_flag=True, help=_PEER)
def containerd(settings: Settings, registry_url: str | None, peer: bool) -> NodeConfig:
    """What containerd needs to pull: hosts.toml."""
    peer_url = _mirror_url(settings) if peer else None
    return containerd_config(registry_address(settings.registry, registry_url), peer_url)


@_command("docker")
@registry_option
@click.option("--peer", is_flag=True, help=_PEER)
@click.option(
    "--hub-mirror", is_flag=True, help="Ask the registry first for images whose names have no registry."
)
def docker(settings: Settings, registry_url: str | None, peer: bool, hub_mirror: bool) -> NodeConfig:
    """What dockerd needs to pull: daemon.json."""
    peer_url = _mirror_url(settings) if peer else None
    address = registry_address(settings.registry, registry_url)
    return docker_config(address, peer_url, hub_mirror=hub_mirror)


@_command("nydusd")
@click.argument("repository", metavar="REPOSITORY")
@registry_option
@click.option(
    "--peer/--no-peer", default=None, help=f"{_PEER} Default: where the gateway redirects to peers."
)
@click.option(
    "--validate", is_flag=True, help="Let nydusd check every chunk: for a registry without redirects."
)
def nydusd(
    settings: Settings, repository: str, registry_url: str | None, peer: bool | None, validate: bool
) -> NodeConfig:
    """What nydusd needs to read images of REPOSITORY."""
    return nydusd_config(
        registry_address(settings.registry, registry_url),
        repository,
        _lazy_peer_url(settings, peer),
        validate=validate,
    )


@_command("nydus-snapshotter")
@registry_option
@click.option(
    "--peer/--no-peer", default=None, help=f"{_PEER} Default: where the gateway redirects to peers."
)
def nydus_snapshotter(settings: Settings, registry_url: str | None, peer: bool | None) -> NodeConfig:
    """What nydus-snapshotter and containerd need for lazy images."""
    address = registry_address(settings.registry, registry_url)
    return snapshotter_config(address, _lazy_peer_url(settings, peer))


@_command("dfdaemon")
@registry_option
@cluster_option
@address_option
@click.option(
    "--seed-peer", metavar="HOST:PORT", help="For this seed peer of the cluster; default: for a node."
)
def dfdaemon(
    settings: Settings,
    registry_url: str | None,
    cluster: str | None,
    address: str | None,
    seed_peer: str | None,
) -> NodeConfig:
    """What a Dragonfly peer needs: an ordinary one, or a seed peer."""
    joined = range_cluster(settings, cluster)
    upstream = registry_address(settings.registry, registry_url)
    if seed_peer is not None:
        return seed_config(joined, upstream, seed_peer_of(joined, seed_peer), address)
    return peer_config(joined, upstream, settings.gateway.peer_url, address)


@_command("scheduler")
@cluster_option
@address_option
def scheduler(settings: Settings, cluster: str | None, address: str | None) -> NodeConfig:
    """What a Dragonfly scheduler without a manager needs."""
    return scheduler_config(range_cluster(settings, cluster), address)


def _lazy_peer_url(settings: Settings, wanted: bool | None) -> str | None:
    """The peer for nydusd, which follows no redirect to it: always the gateway's bytes, so never a loop."""
    if wanted is None:
        wanted = settings.gateway.answer == "peer-redirect"
    return settings.gateway.peer_url if wanted else None


def _mirror_url(settings: Settings) -> str:
    """The peer for engines that pull through it.

    Raises:
        NodeConfigError: the gateway would send the peer, which shows itself as its client, back to itself.
    """
    if settings.gateway.answer == "peer-redirect":
        raise NodeConfigError(
            'gateway.answer = "peer-redirect" sends clients to the peer of their node already; with --peer '
            "that peer would be sent to itself, and wait for itself. Leave --peer out"
        )
    return settings.gateway.peer_url
