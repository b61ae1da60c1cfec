"""The command line: convert and verify, and how mistakes are told."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from converter.oci import ImageIndex, ImageManifest, parse_manifest
from p2p_seed.locate import SeedPeer
from registry_hook import logs
from registry_hook.cli import clients, main
from registry_hook.cli.clients import is_loopback
from registry_hook.errors import SettingsError
from registry_hook.gateway.cloudfront import CloudFrontKey
from registry_hook.gateway.p2p.settings import PeerSettings
from registry_hook.gateway.sigv4 import SigV4Key
from registry_hook.settings import load
from registry_hook.wiring.gateway import gateway_settings
from registry_hook.wiring.registry import registry_client
from registry_hook.wiring.secrets import signing_key, webhook_token
from signer.keys import SigningKey
from tests.converter.sharing_images import image_of, noise
from tests.images.layout import build_image
from tests.registry_hook.simulated_registry import SimulatedRegistry
from tests.registry_hook.world import small_image


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    # It would take the log of this process away from the tests that come later.
    monkeypatch.setattr(logs, "configure", lambda *_: None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_the_version_is_that_of_the_package() -> None:
    shown = run("--version")
    assert shown.exit_code == 0, shown.output
    assert shown.output == run("version").output == f"{importlib.metadata.version('dragonhook')}\n"


def layout_manifest(directory: Path) -> ImageManifest | ImageIndex:
    entry = json.loads((directory / "index.json").read_bytes())["manifests"][0]
    return parse_manifest((directory / "blobs/sha256" / entry["digest"].removeprefix("sha256:")).read_bytes())


def test_convert_from_layout_to_layout(tmp_path: Path) -> None:
    small_image().write_layout(tmp_path / "in", "v1")
    result = run("convert", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", "--threads", "1")
    assert result.exit_code == 0, result.output
    made = layout_manifest(tmp_path / "out")
    assert isinstance(made, ImageManifest)
    assert result.output.strip().endswith(str(made.digest))
    assert made.subject is not None
    assert made.subject.digest == small_image().manifest.digest
    for layer in made.layers:
        assert (tmp_path / "out/blobs/sha256" / layer.digest.hex).stat().st_size == layer.size


def test_convert_twice_gives_the_same_digest(tmp_path: Path) -> None:
    small_image().write_layout(tmp_path / "in", "v1")
    digests = {
        run("convert", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out{n}:v1", "--threads", str(n)).output
        for n in (1, 2)
    }
    assert len(digests) == 1


def test_convert_an_index_keeps_the_platforms(tmp_path: Path) -> None:
    images = {"amd64": small_image("a"), "arm64": small_image("b", "arm64")}
    directory = tmp_path / "in"
    for image in images.values():
        part = tmp_path / image.manifest.digest.hex
        image.write_layout(part, "x")
        for file in (part / "blobs/sha256").iterdir():
            (directory / "blobs/sha256").mkdir(parents=True, exist_ok=True)
            (directory / "blobs/sha256" / file.name).write_bytes(file.read_bytes())
    entries = [
        image.manifest.descriptor.to_json() | {"platform": {"os": "linux", "architecture": name}}
        for name, image in images.items()
    ]
    raw = json.dumps(
        {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
        }
    ).encode()  # fmt: skip
    index = parse_manifest(raw)
    (directory / "blobs/sha256" / index.digest.hex).write_bytes(raw)
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    named = index.descriptor.to_json() | {"annotations": {"org.opencontainers.image.ref.name": "v1"}}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    result = run("convert", f"oci:{directory}:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 0, result.output
    made = layout_manifest(tmp_path / "out")
    assert isinstance(made, ImageIndex)
    assert [str(entry.platform) for entry in made.manifests] == ["linux/amd64", "linux/arm64"]
    assert made.subject is not None
    assert made.subject.digest == index.digest


def test_a_bad_layer_is_told_in_one_line_and_leaves_no_image(tmp_path: Path) -> None:
    build_image([b"not a tar" * 100]).write_layout(tmp_path / "in", "v1")
    result = run("convert", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1")
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_full_work_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    small_image().write_layout(tmp_path / "in", "v1")
    monkeypatch.setattr("registry_hook.oneshot.convert_image", full)
    result = run("convert", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out", "--work-dir", str(tmp_path))
    assert result.exit_code == 1
    assert result.output == (f"Error: {tmp_path}: No space left on device; --work-dir can be another place\n")


KEY = ("--key", "/nowhere.pub")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("convert", "oci:/nowhere:v1", "oci:/tmp/x:v1"), 1, "Error: /nowhere does not exist\n"),
        (("convert", "oci-archive:/no.tar:v1", "oci:/tmp/x:v1"), 1, "Error: /no.tar does not exist\n"),
        (("convert", "oci:a:b", "oci:c:d", "--threads", "257"), 2, "257 is not in the range 0<=x<=256"),
        (("convert", "dir:/x", "oci:/tmp/x:v1"), 2, "dir:"),
        (("convert", "--kernel-mountable", "--compressor", "zstd", "oci:a:b", "oci:c:d"), 2, "excludes"),
        (("verify", "app:v1", *KEY), 2, "lacks a registry host"),
        (("verify", "docker://app:v1", *KEY), 2, "'app:v1' lacks a registry host"),
        (
            ("verify", "r.example", *KEY),
            2,
            "'r.example' is not HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST",
        ),
        (("verify", "r.example/app", *KEY), 2, "'r.example/app' is not HOST/REPOSITORY:TAG"),
        (("verify", "oci:app:v1", *KEY), 2, "a layout holds no signatures"),
        (("verify", "oci-archive:/a.tar:v1", *KEY), 2, "a layout holds no signatures"),
        (("verify", "r.example/app:v1", *KEY), 2, "/nowhere.pub: No such file"),
        (("verify", "r.example/app:v1", "--key", __file__), 2, "is not in PEM form"),
        (("verify", "r.example/app:v1"), 2, "--key"),
        (("serve",), 2, "registry.url: is required"),
        (("worker",), 2, "registry.url: is required"),
        (("--config", "/nowhere.toml", "gateway"), 2, "/nowhere.toml does not exist"),
    ],
)
def test_mistakes_are_told_and_numbered(arguments: tuple[str, ...], status: int, message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.fixture
def public_key(tmp_path: Path) -> str:
    path = tmp_path / "some.pub"
    path.write_bytes(SigningKey.load_or_generate(tmp_path / "some.key").public_key.pem)
    return str(path)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> SimulatedRegistry:
    """What every host that a command names is in the end."""
    simulated = SimulatedRegistry()
    monkeypatch.setattr(clients, "RegistryClient", lambda *_: simulated.client())
    return simulated


def test_an_image_that_is_not_there_is_not_verified(registry: SimulatedRegistry, public_key: str) -> None:
    result = run("verify", "r.example/app:v1", "--key", public_key)
    assert result.exit_code == 3
    assert result.output == (
        "Error: verification failed: rule 1 (resolve): there is no v1 in the repository app, or no such "
        "repository\n"
    )


def test_an_image_without_signatures_is_not_verified(registry: SimulatedRegistry, public_key: str) -> None:
    manifest = small_image().manifest
    registry.push("app", "v1", manifest.raw, manifest.media_type)
    result = run("verify", "r.example/app:v1", "--key", public_key)
    assert result.exit_code == 3
    assert "verification failed: rule 2 (bundles)" in result.output


def test_an_image_that_lost_a_part_is_not_verified(registry: SimulatedRegistry, public_key: str) -> None:
    manifest = small_image().manifest
    registry.push("app", "v1", manifest.raw, manifest.media_type)
    registry.before = lambda method, _: registry.manifests.clear() if method == "GET" else None
    result = run("verify", "r.example/app:v1", "--key", public_key)
    assert result.exit_code == 3
    assert result.output.startswith("Error: verification failed: a part of the image is missing: GET http")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(("state", "problem"), [("down", "ConnectError"), ("refused", "403")])
def test_an_image_that_cannot_be_asked_for_is_not_checked(
    registry: SimulatedRegistry, public_key: str, state: str, problem: str
) -> None:
    registry.down = state == "down"
    registry.refused = {"/v2/app/manifests/v1"}
    result = run("verify", "r.example/app:v1", "--key", public_key)
    assert result.exit_code == 1
    assert "verification failed" not in result.output
    assert result.output.count("\n") == 1


class _NoTls(BaseHTTPRequestHandler):
    """A registry's answer to plain HTTP where it wants TLS (that of Go); to TLS it gives garbage."""

    def do_HEAD(self) -> None:
        self.send_error(400)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("--tls", "does not speak TLS; if it is meant to be reached without, give --plain-http"),
        ("--plain-http", ": 400; if the registry speaks TLS, give --tls"),
    ],
)
def test_the_option_about_tls_is_named_where_it_seems_wrong(
    option: str, advice: str, public_key: str, tmp_path: Path
) -> None:
    small_image().write_layout(tmp_path / "in", "v1")
    with ThreadingHTTPServer(("127.0.0.1", 0), _NoTls) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        name = f"127.0.0.1:{server.server_address[1]}/app:v1"
        try:
            results = [
                run("verify", option, name, "--key", public_key),
                run("convert", option, "oci:in:v1", f"docker://{name}"),
            ]
        finally:
            server.shutdown()
            thread.join()
    for result in results:
        assert result.exit_code == 1
        assert result.output.endswith(f"{advice}\n")
        assert result.output.count("\n") == 1


def test_the_help_says_what_each_exit_status_means() -> None:
    for command, statuses in ((("verify",), "0123"), (("convert",), "012"), ((), "0123")):
        shown = run(*command, "--help").output.partition("Exit status:")[2]
        assert re.findall(r"^ +(\d)  ", shown, re.MULTILINE) == list(statuses)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]:5000", "[::1]"]
)
def test_this_machine_by_its_name(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["registry.example", "10.0.0.1:5000", "localhost.example:5000", "[::2]:5000"]
)
def test_other_machines(host: str) -> None:
    assert not is_loopback(host)


def settings_file(tmp_path: Path, more: str = "") -> Path:
    path = tmp_path / "dragonhook.toml"
    path.write_text(f'state_dir = "{tmp_path}/state"\n[registry]\nurl = "http://127.0.0.1:5000"\n{more}')
    return path


@pytest.mark.parametrize("command", ["serve", "backfill"])
def test_a_state_directory_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, command: str) -> None:
    path = settings_file(tmp_path)
    (tmp_path / "state").write_text("a file where the directory should be")
    result = run(command, "--config", str(path))
    assert result.exit_code == 2, result.output
    assert f"state_dir: [Errno 17] File exists: '{tmp_path}/state'" in result.output
    assert result.output.count("\n") == 1


def test_a_database_that_is_down_is_told_in_one_line_without_its_password(tmp_path: Path) -> None:
    path = settings_file(
        tmp_path,
        '[jobs]\ndatabase = "postgresql://u:hush@127.0.0.1:1/d"\n[signing]\nkey_file = "/k"\n'
        '[web]\ntoken = "t"\n',
    )
    result = run("backfill", "--config", str(path))
    assert result.exit_code == 1, result.output
    assert "Connection refused" in result.output
    assert "hush" not in result.output
    assert result.output.count("\n") == 1


def test_an_address_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        result = run("web", "--config", str(settings_file(tmp_path, f'[web]\nlisten = "{address}"\n')))
    assert result.exit_code == 2, result.output
    told = f"Error: web.listen: cannot listen on {address}: Address already in use"
    assert result.output.splitlines()[-1] == told


def test_key_and_token_are_made_once_and_kept_private(tmp_path: Path) -> None:
    settings = load(settings_file(tmp_path))
    token, key = webhook_token(settings), signing_key(settings)
    assert len(token) > 30
    assert (webhook_token(settings), signing_key(settings).public_key.pem) == (token, key.public_key.pem)
    for name in ("webhook.token", "signing.key"):
        assert (tmp_path / "state" / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state" / "signing.pub").read_bytes() == key.public_key.pem


def test_given_secrets_are_used(tmp_path: Path) -> None:
    settings = load(settings_file(tmp_path, '[web]\ntoken = "given"\n'))
    assert webhook_token(settings) == "given"
    assert not (tmp_path / "state" / "webhook.token").exists()


def test_a_user_name_needs_a_password(tmp_path: Path) -> None:
    settings = load(settings_file(tmp_path, 'username = "u"\n'))
    with pytest.raises(SettingsError, match="belong together"):
        registry_client(settings.registry)


def test_two_kinds_of_credentials_exclude_each_other(tmp_path: Path) -> None:
    more = 'username = "u"\npassword = "p"\ndocker_config = "/etc/docker.json"\n'
    with pytest.raises(SettingsError, match="docker_config"):
        load(settings_file(tmp_path, more))


def test_the_gateway_serves_our_store_and_the_registrys_storage(tmp_path: Path) -> None:
    more = (
        '[gateway]\nlisten = "127.0.0.1:1234"\norigin = "filesystem:/srv/registry"\nclosed_network = true\n'
    )
    gateway = gateway_settings(load(settings_file(tmp_path, more)))
    assert (gateway.port, gateway.registry_storage, gateway.closed_network) == (
        1234, "filesystem:/srv/registry", True,
    )  # fmt: skip
    assert gateway.store == f"filesystem:{tmp_path}/state/store"
    assert (gateway.sigv4, gateway.cloudfront, gateway.origin_port) == (None, None, None)


def test_the_gateway_gets_keys_and_its_private_origin(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret of the bucket\n")
    more = (
        '[gateway]\norigin_listen = "127.0.0.2:1235"\n'
        f'[gateway.sigv4]\naccess_key = "a"\nsecret_key_file = "{tmp_path}/secret"\nregion = "eu-1"\n'
        '[gateway.cloudfront]\nkey_pair_id = "K1"\npublic_key_file = "/etc/public.pem"\n'
        '[seeding]\norigin_secret = "sixteen characters or more"\n'
    )
    gateway = gateway_settings(load(settings_file(tmp_path, more)))
    assert gateway.sigv4 == SigV4Key("a", "secret of the bucket", "eu-1")
    assert gateway.cloudfront == CloudFrontKey("K1", Path("/etc/public.pem"))
    assert (gateway.origin_host, gateway.origin_port) == ("127.0.0.2", 1235)
    assert gateway.origin_secret == b"sixteen characters or more"


def test_the_gateway_reads_from_the_first_cluster_that_serves_ranges(tmp_path: Path) -> None:
    more = (
        "[gateway]\ncache_bytes = 1000\n"
        '[seeding]\norigin_url = "http://10.0.0.1:8090"\norigin_secret = "sixteen characters or more"\n'
        '[[seeding.clusters]]\nname = "old"\nengine = "dragonfly-v1"\n'
        'supernode = "http://10.0.0.2:8002"\nproxy = "http://10.0.0.2:65001"\n'
        '[[seeding.clusters]]\nname = "new"\nengine = "dragonfly"\nscheduler = "10.0.0.3:8002"\n'
        'seed_peers = [{grpc = "10.0.0.4:4000", proxy = "http://10.0.0.4:4001"}]\n'
    )
    peers = gateway_settings(load(settings_file(tmp_path, more))).peers
    assert peers == PeerSettings(
        (SeedPeer("10.0.0.4:4000", "http://10.0.0.4:4001"),),
        "http://10.0.0.1:8090", b"sixteen characters or more", 3600,
        tmp_path / "state" / "gateway-cache", 1000,
    )  # fmt: skip
    assert "sixteen" not in repr(peers)
    managed = more.replace(
        'engine = "dragonfly"\nscheduler',
        'engine = "dragonfly-manager"\ntoken = "t"\nmanager = "http://10.0.0.3:8080"\nscheduler',
    )
    peers = gateway_settings(load(settings_file(tmp_path, managed))).peers
    assert peers is not None
    assert not peers.by_digest
    assert gateway_settings(load(settings_file(tmp_path))).peers is None


def test_convert_with_a_chunk_dictionary(tmp_path: Path) -> None:
    """What is borrowed is copied to a place that lacks it; without the source, only chunks are compared."""
    shared = {"a": noise(1, 100_000), "b": noise(2, 3 << 20)}
    first, second = image_of(shared), image_of({**shared, "c": b"new"})
    first.write_layout(tmp_path / "in1", "v1")
    second.write_layout(tmp_path / "in2", "v2")
    assert run("convert", f"oci:{tmp_path}/in1:v1", f"oci:{tmp_path}/old:v1").exit_code == 0
    old = layout_manifest(tmp_path / "old")
    result = run(
        "convert", f"oci:{tmp_path}/in2:v2", f"oci:{tmp_path}/new:v2",
        "--chunk-dict", f"oci:{tmp_path}/old:v1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    new = layout_manifest(tmp_path / "new")
    assert isinstance(old, ImageManifest)
    assert isinstance(new, ImageManifest)
    assert [layer.digest for layer in new.layers[1:-1]] == [old.layers[0].digest]
    assert new.layers[0].size < 10_000
    for layer in new.layers:
        assert (tmp_path / "new/blobs/sha256" / layer.digest.hex).stat().st_size == layer.size
    plain = run(
        "convert", f"oci:{tmp_path}/in2:v2", f"oci:{tmp_path}/bound:v2", "--max-borrowed", "0",
        "--chunk-dict", f"oci:{tmp_path}/old:v1",
    )  # fmt: skip
    assert plain.exit_code == 0, plain.output
    alone = layout_manifest(tmp_path / "bound")
    assert isinstance(alone, ImageManifest)
    assert len(alone.layers) == 2


def test_convert_names_what_cannot_be_a_dictionary(tmp_path: Path) -> None:
    image = small_image()
    image.write_layout(tmp_path / "in", "v1")
    result = run(
        "convert", f"oci:{tmp_path}/in:v1", f"oci:{tmp_path}/out:v1", "--chunk-dict", f"oci:{tmp_path}/in:v1"
    )  # fmt: skip
    assert result.exit_code == 1
    assert f"{image.manifest.digest} cannot be a chunk dictionary: it is no Nydus image" in result.output
