"""A gateway behind a proxy, as one for TLS is, which docs/operation.md says how to set up."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from registry_hook.gateway.cloudfront import CloudFrontKey
from tests.peers.nginx import Nginx
from tests.registry_hook.gateway.running import SETTINGS, ask, blob_path, directory_source, running, stored
from tests.registry_hook.gateway.signing import KEY_PAIR_ID, SIGV4_KEY, CloudFrontKeys, presigned

pytestmark = pytest.mark.peers


def test_signatures_hold_when_host_and_path_come_through(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    root, [digest] = stored(tmp_path, content)
    keys = CloudFrontKeys(tmp_path)
    key = CloudFrontKey(KEY_PAIR_ID, keys.public_key_file)
    settings = replace(SETTINGS, closed_network=False, sigv4=SIGV4_KEY, cloudfront=key)
    with running([directory_source(root)], settings) as url, Nginx(tmp_path / "nginx", url) as proxy:
        outside = proxy.url + blob_path(digest, "/bucket/a%20prefix/")
        # nginx would speak TLS to clients, and the registry sign https; the gateway sees neither.
        https = outside.replace("http:", "https:")
        for signed in (
            presigned(outside, time.time()),
            keys.signed(outside, time.time() + 60),
            keys.signed(https, time.time() + 60).replace("https:", "http:"),
        ):
            target = signed.removeprefix(proxy.url)
            assert ask(proxy.url, target).body == content
            part = ask(proxy.url, target, Range="bytes=1000000-1999999")
            assert (part.status, part.body) == (206, content[1_000_000:2_000_000])
            reply = ask(proxy.url, target.replace("/bucket/", "/other/"))
            assert (reply.status, reply.body) == (403, b"")
