"""`dragonhook config …`: printed, written, refused, kept secret. `node_config/` has real programs."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_hook.cli import main
from registry_hook.settings import ENVIRONMENT_PREFIX

SETTINGS = """
state_dir = "{directory}/state"
[registry]
url = "{registry}"
[web]
listen = "10.0.0.5:8088"
{web}
[gateway]
listen = "10.0.0.5:8089"
{gateway}
"""
CLUSTER = """
[seeding]
origin_url = "http://10.0.0.5:8091"
[[seeding.clusters]]
name = "rack-1"
engine = "dragonfly"
scheduler = "{scheduler}"
seed_peers = [{{ grpc = "10.0.0.8:4100", proxy = "http://10.0.0.8:4101" }}]
"""
MANAGER = """
[seeding]
origin_url = "http://10.0.0.5:8091"
[[seeding.clusters]]
name = "v1"
engine = "dragonfly-v1"
supernode = "http://10.0.0.9:8002"
proxy = "http://10.0.0.9:65001"
[[seeding.clusters]]
name = "managed"
engine = "dragonfly-manager"
manager = "http://10.0.0.6:8080"
token = "a personal access token"
seed_peers = [{ grpc = "10.0.0.8:4000", proxy = "http://10.0.0.8:4001" }]
"""
TOKEN = "a token of notifications"


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(ENVIRONMENT_PREFIX):
            monkeypatch.delenv(name)


def config(
    tmp_path: Path,
    *words: str,
    registry: str = "http://registry.example:5000",
    web: str = "",
    gateway: str = "closed_network = true",
    seeding: str = "",
) -> Result:
    """Runs `dragonhook config` with a settings file."""
    path = tmp_path / "dragonhook.toml"
    values = {"directory": tmp_path, "registry": registry, "web": web, "gateway": gateway}
    path.write_text(SETTINGS.format(**values) + seeding)
    return CliRunner().invoke(main, ["--config", str(path), "config", *words])


def printed(tmp_path: Path, *words: str, **settings: str) -> str:
    result = config(tmp_path, *words, **settings)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(tmp_path: Path, *words: str, **settings: str) -> str:
    result = config(tmp_path, *words, **settings)
    assert result.exit_code == 2
    assert result.stdout == ""
    return result.stderr


class TestRegistry:
    def test_leads_to_service_and_gateway(self, tmp_path: Path) -> None:
        text = printed(tmp_path, "registry")
        assert 'url: "http://10.0.0.5:8088/v1/events/distribution"' in text
        assert 'baseurl: "http://10.0.0.5:8089/"' in text

    def test_addresses_can_be_other_ones(self, tmp_path: Path) -> None:
        words = ("--service", "https://hook.example", "--gateway", "https://blobs.example/")
        text = printed(tmp_path, "registry", *words)
        assert 'url: "https://hook.example/v1/events/distribution"' in text
        assert 'baseurl: "https://blobs.example/"' in text

    @pytest.mark.parametrize("listen", ["0.0.0.0:8090", "[::]:8090"])
    def test_a_listener_on_every_address_has_no_name(self, listen: str, tmp_path: Path) -> None:
        path = tmp_path / "dragonhook.toml"
        text = SETTINGS.format(directory=tmp_path, registry="http://r.example", web="", gateway="")
        path.write_text(text.replace("10.0.0.5:8089", listen))
        result = CliRunner().invoke(main, ["--config", str(path), "config", "registry"])
        assert result.exit_code == 2
        assert "gateway.listen" in result.stderr
        assert "--gateway http://HOST:8090" in result.stderr

    @pytest.mark.parametrize("given", [f'token = "{TOKEN}"', 'token_file = "token"', ""])
    def test_the_token_is_not_printed_unless_asked_for(self, given: str, tmp_path: Path) -> None:
        (tmp_path / "token").write_text(TOKEN)
        hidden = config(tmp_path, "registry", web=given)
        assert TOKEN not in hidden.output
        assert '["Bearer <the token>"]' in hidden.stdout
        assert not (tmp_path / "state").exists(), "printing makes nothing"
        shown = printed(tmp_path, "registry", "--show-secrets", web=given)
        token = TOKEN if given else (tmp_path / "state" / "webhook.token").read_text().strip()
        assert f'["Bearer {token}"]' in shown

    def test_a_gateway_that_would_refuse_is_not_redirected_to(self, tmp_path: Path) -> None:
        text = printed(tmp_path, "registry", gateway="")
        assert "baseurl" not in text
        assert "gateway.closed_network" in text

    def test_signed_redirects(self, tmp_path: Path) -> None:
        signed = '[gateway.sigv4]\naccess_key = "k"\nsecret_key = "a secret key"'
        result = config(tmp_path, "registry", gateway=f"closed_network = true\n{signed}")
        assert 'redirectendpoint: "http://10.0.0.5:8089"' in result.stdout
        assert "baseurl" not in result.stdout
        assert "a secret key" not in result.output
        told = refused(tmp_path, "registry", "--gateway", "http://gw.example/blobs", gateway=signed)
        assert "path" in told
        (tmp_path / "public.pem").touch()
        signed = '[gateway.cloudfront]\nkey_pair_id = "K1"\npublic_key_file = "public.pem"'
        text = printed(tmp_path, "registry", gateway=signed)
        assert 'keypairid: "K1"' in text
        assert "name: cloudfront" in text
        assert 'privatekey: "/etc/docker/registry/redirect-key.pem"' in text
        text = printed(tmp_path, "registry", "--redirect-key", "/k.pem", gateway=signed)
        assert 'privatekey: "/k.pem"' in text


class TestContainerd:
    def hosts(self, tmp_path: Path, *words: str, **settings: str) -> dict[str, object]:
        return tomllib.loads(printed(tmp_path, "containerd", "--file", "hosts.toml", *words, **settings))

    def test_hosts(self, tmp_path: Path) -> None:
        url = "http://registry.example:5000"
        expected = {"server": url, "host": {url: {"capabilities": ["pull", "resolve"]}}}
        assert self.hosts(tmp_path) == expected

    def test_a_peer_never_says_what_a_tag_means(self, tmp_path: Path) -> None:
        hosts = self.hosts(tmp_path, "--peer")["host"]
        assert isinstance(hosts, dict)
        assert list(hosts) == ["http://127.0.0.1:4001", "http://registry.example:5000"]
        assert hosts["http://127.0.0.1:4001"] == {
            "capabilities": ["pull"],
            "header": {"X-Dragonfly-Registry": ["http://registry.example:5000"]},
        }

    def test_a_peer_that_the_gateway_redirects_to_is_no_mirror(self, tmp_path: Path) -> None:
        gateway = 'closed_network = true\nanswer = "peer-redirect"'
        seeding = CLUSTER.format(scheduler="10.0.0.7:8002")
        for program in ("containerd", "docker"):
            assert "peer-redirect" in refused(tmp_path, program, "--peer", gateway=gateway, seeding=seeding)

    def test_names_and_authorities(self, tmp_path: Path) -> None:
        registry = 'https://10.0.0.4"\nname = "registry.example"\nca_file = "/etc/ca.pem'
        result = printed(tmp_path, "containerd", registry=registry)
        assert "# /etc/containerd/certs.d/registry.example/hosts.toml" in result
        hosts = self.hosts(tmp_path, registry=registry)
        assert hosts["server"] == "https://10.0.0.4"
        assert hosts["host"] == {
            "https://10.0.0.4": {"capabilities": ["pull", "resolve"], "ca": "/etc/ca.pem"}
        }
        assert (
            self.hosts(tmp_path, "--registry", "https://r:5/", registry=registry)["server"] == "https://r:5"
        )


class TestDocker:
    def test_a_plain_http_registry_is_named(self, tmp_path: Path) -> None:
        result = config(tmp_path, "docker")
        assert json.loads(result.stdout) == {"insecure-registries": ["registry.example:5000"]}
        assert "/etc/docker/daemon.json" in result.stderr, "JSON has no comments"

    @pytest.mark.parametrize("url", ["https://registry.example", "http://127.0.0.1:5000"])
    def test_others_need_nothing(self, url: str, tmp_path: Path) -> None:
        assert json.loads(printed(tmp_path, "docker", registry=url)) == {}

    def test_a_mirror_of_docker_hub(self, tmp_path: Path) -> None:
        settings = json.loads(printed(tmp_path, "docker", "--hub-mirror", registry="https://r.example"))
        assert settings == {"registry-mirrors": ["https://r.example"]}

    def test_a_peer_is_a_proxy(self, tmp_path: Path) -> None:
        text = printed(tmp_path, "docker", "--peer", "--file", "dragonhook.conf")
        assert 'Environment="HTTP_PROXY=http://127.0.0.1:4001"' in text.splitlines()

    @pytest.mark.parametrize("url", ["https://registry.example", "http://localhost:5000"])
    def test_no_peer_where_dockerd_would_pass_it_by(self, url: str, tmp_path: Path) -> None:
        assert "peer-redirect" in refused(tmp_path, "docker", "--peer", registry=url)

    def test_no_path(self, tmp_path: Path) -> None:
        assert "--registry" in refused(tmp_path, "docker", registry="https://example/registry")


class TestNydusd:
    def test_the_registry_is_the_backend(self, tmp_path: Path) -> None:
        settings = tomllib.loads(printed(tmp_path, "nydusd", "team/app"))
        registry = settings["backend"]["registry"]
        wanted = {"scheme": "http", "host": "registry.example:5000", "repo": "team/app"}
        assert registry | wanted == registry
        assert "proxy" not in registry
        assert settings["rafs"]["validate"] is False
        assert settings["cache"]["validate"] is False
        assert settings["cache"]["filecache"]["work_dir"] == "/var/cache/nydus/team-app"
        assert tomllib.loads(printed(tmp_path, "nydusd", "a", "--validate"))["cache"]["validate"] is True

    def test_it_reads_through_its_peer_where_others_are_redirected_to_it(self, tmp_path: Path) -> None:
        gateway = 'closed_network = true\nanswer = "peer-redirect"\npeer_url = "http://127.0.0.1:4444"'
        redirecting = {"gateway": gateway, "seeding": CLUSTER.format(scheduler="10.0.0.7:8002")}
        for words, settings in (
            ((), redirecting),
            (("--peer",), {"gateway": gateway.replace("answer", "#")}),
        ):
            text = printed(tmp_path, "nydusd", "team/app", *words, **settings)
            proxy = tomllib.loads(text)["backend"]["registry"]["proxy"]
            assert proxy["url"] == "http://127.0.0.1:4444"
            assert proxy["fallback"] is True
        assert "proxy" not in printed(tmp_path, "nydusd", "team/app", "--no-peer", **redirecting)

    def test_no_path(self, tmp_path: Path) -> None:
        for words in (["nydusd", "a"], ["nydus-snapshotter"]):
            assert "--registry" in refused(tmp_path, *words, registry="https://example/registry")

    def test_the_snapshotter_has_its_template(self, tmp_path: Path) -> None:
        main = tomllib.loads(printed(tmp_path, "nydus-snapshotter", "--file", "nydus/config.toml"))
        name = main["daemon"]["nydusd_config"].rpartition("/")[2]
        template = json.loads(printed(tmp_path, "nydus-snapshotter", "--file", name, "--peer"))
        backend = template["device"]["backend"]["config"]
        assert backend["scheme"] == "http"
        assert backend["proxy"]["url"] == "http://127.0.0.1:4001"


class TestDragonfly:
    def test_a_node(self, tmp_path: Path) -> None:
        seeding = CLUSTER.format(scheduler="scheduler.example:8002")
        text = printed(tmp_path, "dfdaemon", "--address", "10.0.1.1", seeding=seeding)
        assert 'ip: "10.0.1.1"' in text
        assert 'addrs: ["scheduler.example:8002"]' in text
        assert "seedPeer" not in text
        assert "schedulingPolicy: always" in text

    def test_a_seed_peer(self, tmp_path: Path) -> None:
        seeding = CLUSTER.format(scheduler="10.0.0.7:8002")
        text = printed(tmp_path, "dfdaemon", "--seed-peer", "10.0.0.8:4100", seeding=seeding)
        assert "type: super" in text
        assert "port: 4100" in text
        assert "port: 4101" in text
        assert 'ip: "10.0.0.8"' in text

    def test_a_seed_peer_that_is_none(self, tmp_path: Path) -> None:
        seeding = CLUSTER.format(scheduler="10.0.0.7:8002")
        told = refused(tmp_path, "dfdaemon", "--seed-peer", "10.0.0.9:4000", seeding=seeding)
        assert "10.0.0.8:4100" in told

    def test_a_cluster_with_a_manager(self, tmp_path: Path) -> None:
        text = printed(tmp_path, "dfdaemon", seeding=MANAGER)
        assert 'addr: "http://10.0.0.6:65003"' in text
        assert "addrs" not in text
        assert "personal" not in text
        assert "enableTaskIDBasedBlobDigest: false" in text, "its jobs seed by URL"
        assert "dragonfly-manager" in refused(tmp_path, "scheduler", seeding=MANAGER)

    @pytest.mark.parametrize("name", ["v1", "unknown"])
    def test_other_clusters(self, name: str, tmp_path: Path) -> None:
        assert name in refused(tmp_path, "dfdaemon", "--cluster", name, seeding=MANAGER)

    def test_no_cluster(self, tmp_path: Path) -> None:
        assert "seeding.clusters" in refused(tmp_path, "dfdaemon")

    def test_the_scheduler_knows_its_address(self, tmp_path: Path) -> None:
        text = printed(tmp_path, "scheduler", seeding=CLUSTER.format(scheduler="10.0.0.7:18002"))
        assert 'advertiseIP: "10.0.0.7"' in text
        assert "advertisePort: 18002" in text
        named = CLUSTER.format(scheduler="scheduler.example:8002")
        assert "--address" in refused(tmp_path, "scheduler", seeding=named)
        assert '"10.0.0.7"' in printed(tmp_path, "scheduler", "--address", "10.0.0.7", seeding=named)

    def test_a_peer_listens_on_an_address(self, tmp_path: Path) -> None:
        gateway = 'peer_url = "http://localhost:4001"'
        seeding = CLUSTER.format(scheduler="10.0.0.7:8002")
        assert "peer_url" in refused(tmp_path, "dfdaemon", gateway=gateway, seeding=seeding)


class TestOutput:
    def test_files_are_written_where_they_belong(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        result = config(tmp_path, "nydus-snapshotter", "--output", str(root))
        names = ["nydus/config.toml", "nydus/nydusd-config.fusedev.json", "containerd/config.toml"]
        assert result.stdout.splitlines() == [str(root / "etc" / name) for name in names]
        alone = printed(tmp_path, "nydus-snapshotter", "--file", "nydus/config.toml")
        assert (root / "etc/nydus/config.toml").read_text() == alone
        json.loads((root / "etc/nydus/nydusd-config.fusedev.json").read_text())
        assert not list(root.rglob(".*"))

    def test_what_is_there_is_kept(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        words = ("nydus-snapshotter", "--output", str(root))
        printed(tmp_path, *words)
        printed(tmp_path, *words)  # the same again is no conflict
        main = root / "etc/nydus/config.toml"
        main.write_text("mine")
        result = config(tmp_path, *words, "--peer")
        assert result.exit_code == 1
        assert "--force" in result.stderr
        assert "proxy" not in (root / "etc/nydus/nydusd-config.fusedev.json").read_text(), "all or nothing"
        printed(tmp_path, *words, "--peer", "--force")
        assert main.read_text() != "mine"

    def test_a_part_never_replaces_a_file(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        target = root / "etc/docker/daemon.json"
        target.parent.mkdir(parents=True)
        target.write_text('{"debug": true}')
        result = config(tmp_path, "docker", "--peer", "--output", str(root), "--force")
        assert result.exit_code == 0
        assert "NOT WRITTEN" in result.stderr
        assert "--file docker/daemon.json" in result.stderr
        assert target.read_text() == '{"debug": true}'
        written = root / "etc/systemd/system/docker.service.d/dragonhook.conf"
        assert result.stdout == f"{written}\n", "the other file is written"

    def test_secrets_are_for_the_owner(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        printed(tmp_path, "registry", "--show-secrets", "--output", str(root), web=f'token = "{TOKEN}"')
        (path,) = (entry for entry in root.rglob("*") if entry.is_file())
        assert path.stat().st_mode & 0o777 == 0o600
        assert TOKEN in path.read_text()

    def test_an_unknown_file(self, tmp_path: Path) -> None:
        assert "hosts.toml" in refused(tmp_path, "containerd", "--file", "host.toml")

    @pytest.mark.parametrize("url", ["registry.example", "ftp://a", "http://user:pass@a"])
    def test_an_address_that_is_none(self, url: str, tmp_path: Path) -> None:
        assert "--registry" in refused(tmp_path, "containerd", "--registry", url)

    def test_settings_that_are_wrong(self, tmp_path: Path) -> None:
        assert "registry.url" in refused(tmp_path, "containerd", registry="nothing")
