"""What can be known to be wrong before any process of the service is started."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

from p2p_seed.errors import StoreConfigurationError
from p2p_seed.store import open_store
from registry_hook.errors import SettingsError
from registry_hook.gateway.access import check_access
from registry_hook.settings import Settings
from registry_hook.settings_sections import Address, parse_address
from registry_hook.wiring.blob_store import blob_store, s3_access
from registry_hook.wiring.gateway import gateway_settings
from registry_hook.wiring.registry import registry_client
from registry_hook.wiring.secrets import signing_key, webhook_token
from registry_hook.wiring.services import convert_options


def check(settings: Settings) -> None:
    """Builds once what the children will build, and makes what they would race for.

    Raises:
        SettingsError: something cannot work; the message names the setting.
    """
    convert_options(settings)
    webhook_token(settings)
    settings.web.read_secret()
    signing_key(settings)
    blob_store(settings)
    registry_client(settings.registry).close()
    if settings.gateway.enabled:
        _check_origin(settings)
        check_access(gateway_settings(settings))
    _check_addresses(settings)


def _check_origin(settings: Settings) -> None:
    if settings.gateway.origin is None:
        return
    try:
        open_store(settings.gateway.origin, s3_access("gateway.origin_s3", settings.gateway.origin_s3))
    except StoreConfigurationError as error:
        raise SettingsError(f"gateway.origin: {error}") from error


def _check_addresses(settings: Settings) -> None:
    """Listens on every address at the same time, which finds those that are given twice too."""
    with ExitStack() as stack:
        for setting, address in _addresses(settings):
            try:
                family, kind, protocol, _, place = socket.getaddrinfo(
                    address.host, address.port, type=socket.SOCK_STREAM
                )[0]
                listener = stack.enter_context(socket.socket(family, kind, protocol))
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(place)
                listener.listen(1)
            except OSError as error:
                raise SettingsError(f"{setting}: cannot listen on {address}: {error.strerror}") from error


def _addresses(settings: Settings) -> Iterator[tuple[str, Address]]:
    yield "web.listen", parse_address(settings.web.listen)
    if settings.gateway.enabled:
        yield "gateway.listen", parse_address(settings.gateway.listen)
        if settings.gateway.metrics_listen is not None:
            yield "gateway.metrics_listen", parse_address(settings.gateway.metrics_listen)
        if settings.gateway.origin_listen is not None:
            yield "gateway.origin_listen", parse_address(settings.gateway.origin_listen)
