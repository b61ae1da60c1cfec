"""The registry: notifications to the service, and redirects of blobs to the gateway.

Format: Distribution's `docs/content/about/configuration.md`; one text for 2.8 and 3.1.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from registry_hook.node_config.addresses import NodeConfigError
from registry_hook.node_config.files import ConfigFile, NodeConfig, quoted
from registry_hook.settings_gateway import GatewaySection

_FILE: Final = PurePosixPath("/etc/docker/registry/config.yml")
DEFAULT_REDIRECT_KEY: Final = PurePosixPath("/etc/docker/registry/redirect-key.pem")
EVENTS_PATH: Final = "/v1/events/distribution"
_PLACE: Final = "<the token>"


def registry_config(
    gateway: GatewaySection,
    service_url: str,
    gateway_url: str,
    *,
    token: str | None,
    token_place: str,
    redirect_key: PurePosixPath = DEFAULT_REDIRECT_KEY,
) -> NodeConfig:
    """What the registry needs to tell the service about pushes, and to send pulls to the gateway.

    Args:
        gateway: what the gateway accepts.
        service_url: of the service, as the registry reaches it.
        gateway_url: of the gateway, as clients reach it.
        token: what notifications must carry; None leaves a place for it.
        token_place: where the token is to be found, for the comment.
        redirect_key: file on the registry's machine with the private key of `gateway.cloudfront`.

    Raises:
        NodeConfigError: the registry cannot redirect to this URL.
    """
    content = f"{_notifications(service_url, token)}\n{_redirects(gateway, gateway_url, redirect_key)}"
    about = [
        "(Distribution 3: /etc/distribution/config.yml.) Then restart the registry. It tells the service "
        "about every push, and answers GET and HEAD of blobs with a redirect to the gateway.",
    ]
    if token is None:
        about.append(
            f"Put the token in the place of {_PLACE}: it is {token_place}. --show-secrets prints it."
        )
    return NodeConfig((ConfigFile(_FILE, content, tuple(about), part=True, private=token is not None),))


def _notifications(service_url: str, token: str | None) -> str:
    # `timeout` is for a whole attempt and 1 s without it. Before 3.1 `actions` counts only beside a media
    # type (distribution#4730).
    return f"""\
notifications:
  endpoints:
    - name: dragonhook
      url: {quoted(service_url + EVENTS_PATH)}
      headers: {{Authorization: [{quoted("Bearer " + (token or _PLACE))}]}}
      timeout: 5s
      threshold: 5
      backoff: 1s
      ignore: {{mediatypes: [application/octet-stream], actions: [pull]}}
"""


def _redirects(gateway: GatewaySection, gateway_url: str, redirect_key: PurePosixPath) -> str:
    if gateway.sigv4.access_key is not None:
        if urlsplit(gateway_url).path:
            raise NodeConfigError(f"redirectendpoint takes no path, so the gateway cannot be {gateway_url}")
        return f"""\
# Distribution 3.1.2 or later with storage on S3: links are signed with the registry's own access key, that of
# gateway.sigv4. The line joins the others of storage.s3.
storage:
  s3:
    redirectendpoint: {quoted(gateway_url)}
"""
    if gateway.cloudfront.key_pair_id is not None:
        return f"""\
# With storage on S3: links are signed with this key, whose public half is gateway.cloudfront.public_key_file.
# The file has to begin with BEGIN RSA PRIVATE KEY.
middleware:
  storage:
    - name: cloudfront
      options:
        baseurl: {quoted(gateway_url + "/")}
        privatekey: {quoted(str(redirect_key))}
        keypairid: {quoted(gateway.cloudfront.key_pair_id)}
"""
    if gateway.closed_network:
        return f"""\
# Not signed: whoever reaches the gateway and knows a digest gets the blob (gateway.closed_network).
middleware:
  storage:
    - name: redirect
      options: {{baseurl: {quoted(gateway_url + "/")}}}
"""
    return """\
# No redirects: the gateway would answer every one with 403, and with it every pull and push. Set
# gateway.closed_network, [gateway.sigv4] or [gateway.cloudfront] for the service, then print this again.
"""
