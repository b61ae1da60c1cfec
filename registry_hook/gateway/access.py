"""Who may read what, as the settings say: the checks of both listeners for blobs."""

from __future__ import annotations

from registry_hook.errors import SettingsError
from registry_hook.gateway import cloudfront, sigv4
from registry_hook.gateway.cloudfront import CloudFrontCheck
from registry_hook.gateway.origin import OriginCheck
from registry_hook.gateway.redirect_checks import BySignature, ClosedToAll, OpenToAll, RedirectCheck
from registry_hook.gateway.settings import GatewaySettings
from registry_hook.gateway.sigv4 import SigV4Check


def check_access(settings: GatewaySettings) -> None:
    """Finds out before a process is started whether its checks can be made.

    Raises:
        SettingsError: a key cannot be used, or everybody could read everything.
    """
    redirect_check(settings)
    if settings.origin_port is not None:
        origin_check(settings)


def redirect_check(settings: GatewaySettings) -> RedirectCheck:
    """Which redirects of the registry are followed.

    Raises:
        SettingsError: a key cannot be used.
    """
    checks: dict[str, RedirectCheck] = {}
    if settings.sigv4 is not None:
        checks[sigv4.SIGNATURE] = SigV4Check(settings.sigv4)
    if settings.cloudfront is not None:
        checks[cloudfront.KEY_PAIR_ID] = CloudFrontCheck(settings.cloudfront)
    return BySignature(checks, OpenToAll() if settings.closed_network else ClosedToAll())


def origin_check(settings: GatewaySettings) -> RedirectCheck:
    """Which requests of peers the private origin answers.

    Raises:
        SettingsError: everybody could read everything.
    """
    if settings.origin_secret is not None:
        return OriginCheck(settings.origin_secret)
    if settings.closed_network:
        return OpenToAll()
    raise SettingsError(
        "gateway.origin_listen: whoever reaches this address could read every blob; set"
        " seeding.origin_secret, or gateway.closed_network = true if the network decides who may read"
    )
