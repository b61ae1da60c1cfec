"""Settings and their messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.options import ConvertOptions
from registry_hook.errors import SettingsError
from registry_hook.settings import Settings, load
from registry_hook.settings_sections import Address, parse_address
from registry_hook.settings_seeding import DragonflyManagerCluster
from registry_hook.wiring.services import convert_options


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "d.toml"
    path.write_text(text)
    return path


def read(tmp_path: Path, text: str) -> Settings:
    return load(written(tmp_path, text))


def test_only_the_registry_is_required(tmp_path: Path) -> None:
    settings = read(tmp_path, '[registry]\nurl = "http://127.0.0.1:5000/"\n')
    assert settings.registry.url == "http://127.0.0.1:5000"
    assert settings.database_url == "sqlite:////var/lib/dragonhook/jobs.sqlite"
    assert not settings.jobs.many_machines


def test_without_anything_the_message_says_what_is_missing_and_how_to_set_it() -> None:
    with pytest.raises(
        SettingsError, match=r"registry\.url: is required \(environment: DRAGONHOOK_REGISTRY__URL\)"
    ):
        load()


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGONHOOK_WEB__LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("DRAGONHOOK_STATE_DIR", "/srv/x")
    settings = read(
        tmp_path, 'state_dir = "/a"\n[registry]\nurl = "http://r"\n[web]\nlisten = "0.0.0.0:2"\nthreads = 3'
    )
    assert (settings.web.listen, settings.web.threads) == ("127.0.0.1:1", 3)
    assert settings.state_dir == Path("/srv/x")


def test_the_file_can_be_named_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGONHOOK_CONFIG", str(written(tmp_path, '[registry]\nurl = "http://named"')))
    assert load().registry.url == "http://named"


def test_a_file_in_the_working_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "dragonhook.toml").write_text('[registry]\nurl = "http://here"')
    assert load().registry.url == "http://here"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[registry]\nurl = "registry:5000"', "registry.url: is not a URL like https://registry.example"),
        ('[registry]\nurl = "http://r"\nur = 1', "registry.ur: is not a setting; check the spelling"),
        ('reg = 1\n[registry]\nurl = "http://r"', "reg: is not a setting; check the spelling"),
        ('[registry]\nurl = "http://r"\n[web]\nlisten = "8088"', "web.listen: '8088' is not an address"),
        (
            '[registry]\nurl = "http://r"\n[web]\ntoken = "a"\ntoken_file = "b"',
            "set token or token_file, not both",
        ),
        ('[registry]\nurl = "http://r"\n[jobs]\nconversions = 0', "jobs.conversions: "),
        ('[registry]\nurl = "http://r"\n[jobs]\ndatabase = "mysql://x"', "not a postgresql:// or sqlite:///"),
        ('[registry]\nurl = "http://r"\n[store.s3]\nregin = "x"', "store.s3.regin: is not a setting"),
        ('[registry]\nurl = "http://r"\n[convert]\ncompressor = "lz4"', "convert.compressor: "),
        ("[registry", "cannot read the settings file"),
    ],
)
def test_each_problem_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert "d.toml" in str(caught.value)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, "[web]\nthreads = 0\n[jobs]\npublications = 0")
    assert str(caught.value).count("\n") == 3


def test_a_missing_file_is_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load(tmp_path / "nowhere.toml")


def test_a_misspelt_variable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGONHOOK_WEBB__TOKEN", "x")
    with pytest.raises(SettingsError, match="DRAGONHOOK_WEBB__TOKEN is not a setting"):
        read(tmp_path, '[registry]\nurl = "http://r"')
    monkeypatch.delenv("DRAGONHOOK_WEBB__TOKEN")
    monkeypatch.setenv("DRAGONHOOK_WEB__TOKN", "x")
    with pytest.raises(SettingsError, match=r"web\.tokn: is not a setting"):
        read(tmp_path, '[registry]\nurl = "http://r"')


def test_what_kubernetes_says_about_a_service_of_our_name_is_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("DRAGONHOOK", "DRAGONHOOK_GATEWAY"):
        for name, value in {
            "SERVICE_HOST": "10.0.0.7", "SERVICE_PORT": "8088", "SERVICE_PORT_WEB_HOOK": "8088",
            "PORT": "tcp://10.0.0.7:8088", "PORT_8088_TCP": "tcp://10.0.0.7:8088",
            "PORT_8088_TCP_PROTO": "tcp", "PORT_8088_TCP_PORT": "8088", "PORT_8088_TCP_ADDR": "10.0.0.7",
        }.items():  # fmt: skip
            monkeypatch.setenv(f"{service}_{name}", value)
    read(tmp_path, '[registry]\nurl = "http://r"')
    monkeypatch.setenv("DRAGONHOOK_GATEWAY_PORT", "8089")
    with pytest.raises(SettingsError, match="DRAGONHOOK_GATEWAY_PORT is not a setting"):
        read(tmp_path, '[registry]\nurl = "http://r"')


@pytest.mark.parametrize("name", ["WEB__TOKEN", "WEB__READ_TOKEN", "REGISTRY__PASSWORD"])
def test_a_secret_that_is_set_to_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"DRAGONHOOK_{name}", "")
    with pytest.raises(SettingsError, match=f"environment: DRAGONHOOK_{name}"):
        read(tmp_path, '[registry]\nurl = "http://r"')


@pytest.mark.parametrize("url", ["https://user:hush@r", "user:hush@r", "https://user:hush@r:99999"])
def test_a_password_in_a_url_is_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match=r"registry\.url") as caught:
        read(tmp_path, f'[registry]\nurl = "{url}"')
    assert "hush" not in str(caught.value)


POSTGRES = '[registry]\nurl = "http://r"\n[jobs]\ndatabase = "postgresql://u:hush@h/d"\n'


def test_many_machines_need_a_key_and_a_token_from_outside(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"signing\.key_file is required with a Postgres job database"):
        read(tmp_path, POSTGRES)
    with pytest.raises(SettingsError, match=r"web\.token or web\.token_file is required"):
        read(tmp_path, POSTGRES + '[signing]\nkey_file = "/k"\n')
    assert read(tmp_path, POSTGRES + '[signing]\nkey_file = "/k"\n[web]\ntoken = "t"\n').jobs.many_machines


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    settings = read(
        tmp_path, POSTGRES + '[signing]\nkey_file = "/k"\npassword = "hush"\n[web]\ntoken = "hush"\n'
    )
    assert "hush" not in repr(settings)
    assert settings.database_url == "postgresql://u:hush@h/d"


def test_a_secret_file_gives_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    settings = read(tmp_path, f'[registry]\nurl = "http://r"\n[web]\ntoken_file = "{tmp_path}/token"')
    assert settings.web.secret() == "s3cret"
    (tmp_path / "token").write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        settings.web.secret()
    (tmp_path / "token").unlink()
    with pytest.raises(SettingsError, match="cannot read the secret file"):
        settings.web.secret()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("[::1]:0", Address("::1", 0)),
        ("host:65535", Address("host", 65535)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", ":80", "80", "host:", "host:65536", "host:-1", "host:x"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        parse_address(text)


def test_every_setting_of_a_conversion_arrives(tmp_path: Path) -> None:
    lines = [
        'compressor = "none"', "level = 4", "chunk_size = 65536", 'digester = "sha256"', "threads = 2",
        "kernel_mountable = true", 'prefetch = ["/bin", "/lib"]', 'media_types = "docker"',
    ]  # fmt: skip
    settings = read(tmp_path, "\n".join(['[registry]\nurl = "http://r"\n[convert]', *lines]))
    assert convert_options(settings) == ConvertOptions(
        compressor="none", level=4, chunk_size=65536, digester="sha256", threads=2, kernel_mountable=True,
        prefetch=("/bin", "/lib"), media_types="docker",
    )  # fmt: skip
    assert convert_options(read(tmp_path, '[registry]\nurl = "http://r"')) == ConvertOptions()
    older = read(tmp_path, '[registry]\nurl = "http://r"\n[convert]\nfs_version = 5')
    assert convert_options(older) == ConvertOptions(fs_version=5)
    with pytest.raises(SettingsError, match="convert: chunk_size must be a power of two"):
        convert_options(read(tmp_path, '[registry]\nurl = "http://r"\n[convert]\nchunk_size = 5000'))


def test_references_to_the_source(tmp_path: Path) -> None:
    start = '[registry]\nurl = "http://r"\n[convert]\noci_ref = true\n'
    settings = read(tmp_path, start + 'digester = "sha256"')
    assert convert_options(settings) == ConvertOptions(oci_ref=True, digester="sha256")
    with pytest.raises(SettingsError, match='oci_ref needs digester = "sha256"'):
        read(tmp_path, start)
    with pytest.raises(SettingsError, match="it excludes dedup"):
        read(tmp_path, start + 'digester = "sha256"\n[dedup]\nrepositories = ["*"]')
    with pytest.raises(SettingsError, match="fs_version 5 excludes dedup"):
        read(
            tmp_path, '[registry]\nurl = "http://r"\n[convert]\nfs_version = 5\n[dedup]\nrepositories = ["*"]'
        )


REGISTRY = '[registry]\nurl = "http://r"\n'
SEEDING = f'{REGISTRY}[seeding]\norigin_url = "http://o:8091"\n'
DRAGONFLY = (
    '[[seeding.clusters]]\nname = "rack"\nengine = "dragonfly"\nscheduler = "s:8002"\n'
    'seed_peers = [{grpc = "p:4000", proxy = "http://p:4001/"}]\n'
)
SUPERNODE = (
    '[[seeding.clusters]]\nname = "old"\nengine = "dragonfly-v1"\n'
    'supernode = "http://n:8002"\nproxy = "http://n:65001"\n'
)


def test_clusters_are_read_and_the_gateway_takes_the_first_that_serves_ranges(tmp_path: Path) -> None:
    settings = read(tmp_path, SEEDING + SUPERNODE + DRAGONFLY)
    assert [cluster.name for cluster in settings.seeding.clusters] == ["old", "rack"]
    rack = settings.gateway_cluster
    assert rack is not None
    assert rack.name == "rack"
    assert [(peer.grpc, peer.proxy) for peer in rack.seed_peers] == [("p:4000", "http://p:4001")]
    assert read(tmp_path, SEEDING + SUPERNODE).gateway_cluster is None
    assert read(tmp_path, REGISTRY).gateway_cluster is None


def test_clusters_come_from_the_environment_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "DRAGONHOOK_SEEDING__CLUSTERS",
        '[{"name": "old", "engine": "dragonfly-v1", "supernode": "http://n", "proxy": "http://p"}]',
    )
    assert [cluster.name for cluster in read(tmp_path, SEEDING).seeding.clusters] == ["old"]


MANAGER = (
    '[[seeding.clusters]]\nname = "m"\nengine = "dragonfly-manager"\nmanager = "http://m:8080"\n'
    'seed_peers = [{grpc = "p:4000", proxy = "http://p:4001"}]\n'
)


def test_a_token_of_a_manager_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush\n")
    cluster = read(tmp_path, f'{SEEDING}{MANAGER}token_file = "{tmp_path}/token"\n').gateway_cluster
    assert isinstance(cluster, DragonflyManagerCluster)
    assert cluster.secret() == "hush"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (REGISTRY + DRAGONFLY, "seeding: origin_url is required"),
        (SEEDING + DRAGONFLY + DRAGONFLY, "two clusters are called 'rack'"),
        (SEEDING + DRAGONFLY + 'supernode = "http://x"', "seeding.clusters[1].supernode: is not a setting"),
        (
            SEEDING + DRAGONFLY.replace('scheduler = "s:8002"\n', ""),
            "seeding.clusters[1].scheduler: is required (environment: DRAGONHOOK_SEEDING__CLUSTERS)",
        ),
        (
            SEEDING + SUPERNODE + DRAGONFLY.replace("p:4000", "p"),
            "seeding.clusters[2].seed_peers[1].grpc: 'p' is not an address",
        ),
        (SEEDING + DRAGONFLY.replace('engine = "dragonfly"', 'engine = "d"'), "seeding.clusters[1]: "),
        (SEEDING + MANAGER, "token or token_file is required"),
        (SEEDING + 'origin_secret = "short"', "seeding.origin_secret: is too short"),
        (SEEDING + DRAGONFLY + '[gateway]\ncluster = "rock"', "gateway.cluster: no cluster"),
        (SEEDING + SUPERNODE + '[gateway]\ncluster = "old"', "dragonfly-v1, whose peers serve no ranges"),
        (REGISTRY + '[gateway]\nanswer = "peer-redirect"', "needs a cluster"),
        (REGISTRY + '[gateway]\nanswer = "store-redirect"', "needs store.location to be s3://"),
        (REGISTRY + '[gateway.sigv4]\naccess_key = "a"', "access_key and secret_key (or secret_key_file)"),
        (REGISTRY + '[gateway.cloudfront]\nkey_pair_id = "a"', "key_pair_id and public_key_file belong"),
    ],
)
def test_each_problem_of_p2p_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_a_short_secret_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, SEEDING + 'origin_secret = "hush"')
    assert "hush" not in str(caught.value)


def test_the_secret_of_the_origin_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef\n")
    text = f'{SEEDING}origin_secret_file = "{tmp_path}/secret"\n'
    assert read(tmp_path, text).seeding.secret() == b"0123456789abcdef"
    assert read(tmp_path, SEEDING).seeding.secret() is None
