"""A lazy mount outlives the signatures of the redirects that it follows.

nydusd remembers where the registry has sent it, and asks there again for hours. The signature is good for 20
minutes; it has to take the gateway's 403 for what it is, and ask the registry anew.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from converter.options import ConvertOptions
from registry_hook.gateway import GatewaySettings
from registry_hook.gateway.cloudfront import CloudFrontKey
from registry_hook.registry.client import RegistryClient
from registry_hook.registry.endpoint import RegistryEndpoint
from tests.images.layout import build_image
from tests.images.tar import encode_tar, file
from tests.interop.conversion import Conversion, convert
from tests.p2p_seed.store.backends import access_to, new_bucket
from tests.peers.mounts import nydusd_mount, registry_backend
from tests.peers.registries import CloudFront, Registry, RegistryKind, RegistryOptions, S3Storage
from tests.peers.s3 import S3Server
from tests.registry_hook.gateway.process import GatewayProcess
from tests.registry_hook.gateway.signing import KEY_PAIR_ID, CloudFrontKeys

pytestmark = [pytest.mark.root, pytest.mark.interop]

GOOD_FOR_S = 2
# So far from each other that reading one does not fetch the next as well.
FILES = {f"file-{n}": random.Random(n).randbytes(4 << 20) for n in range(2)}
REPOSITORY = "test/lazy"


def pushed(conversion: Conversion, registry: Registry) -> None:
    client = RegistryClient(RegistryEndpoint(registry.url))
    for blob in conversion.image.blobs:
        client.put_blob(REPOSITORY, blob.descriptor, blob.path)
    client.close()


def test_nydusd_asks_again_when_a_signature_has_expired(s3_server: S3Server, tmp_path: Path) -> None:
    image = build_image([encode_tar([file(name, content) for name, content in FILES.items()])])
    conversion = convert(image, tmp_path / "converted", ConvertOptions())
    keys = CloudFrontKeys(tmp_path)
    bucket = new_bucket(s3_server)
    settings = GatewaySettings(
        store=f"s3://{new_bucket(s3_server)}",
        store_s3=access_to(s3_server),
        registry_storage=f"s3://{bucket}/registry",
        registry_s3=access_to(s3_server),
        cloudfront=CloudFrontKey(KEY_PAIR_ID, keys.public_key_file),
    )
    storage = S3Storage(s3_server.url, bucket, s3_server.access_key, s3_server.secret_key, "/registry")
    with GatewayProcess(tmp_path, settings) as gateway:
        signing = CloudFront(gateway.url, keys.private_key_file, KEY_PAIR_ID, GOOD_FOR_S)
        options = RegistryOptions(s3=storage, cloudfront=signing)
        with Registry(RegistryKind.V2, tmp_path / "registry", options) as registry:
            pushed(conversion, registry)
            backend = registry_backend(registry.host, REPOSITORY)
            with nydusd_mount(conversion.bootstrap, backend, tmp_path / "nydusd") as mountpoint:
                for number, (name, content) in enumerate(FILES.items()):
                    time.sleep(number * (GOOD_FOR_S + 0.1))
                    assert (mountpoint / name).read_bytes() == content
        answers = [entry["status"] for entry in gateway.requests()]
        refusals = gateway.log_text().count("the signature has expired")
    # Not one for each request: what it was sent to is used until it is refused.
    assert refusals == answers.count(403) >= len(FILES) - 1
    assert answers.count(206) > len(answers) / 2
