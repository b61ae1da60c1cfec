"""The tables of the settings file, one class a table.

Those of the gateway and of P2P are in `settings_gateway` and `settings_seeding`.

Each secret can be given as a file instead (`token_file` for `token`), which keeps it out of process listings
and of an engine's `inspect`. Unknown names are refused: a misspelt security setting must not be silently off.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from registry_hook.errors import SettingsError

_Section = TypeVar("_Section", bound="Section")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Reads `host:port` or `[ipv6]:port`.

    Raises:
        ValueError: no port, or one outside 0 to 65535.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or not host:
        raise ValueError(f"{text!r} is not an address like 127.0.0.1:8088")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _checked_address(text: str) -> str:
    parse_address(text)
    return text


def _http_url(text: str) -> str:
    # The text stays out of the messages: somebody may have put a password into it.
    if not text.startswith(("http://", "https://")):
        raise ValueError("is not a URL like https://registry.example")
    if "@" in urlsplit(text).netloc:
        raise ValueError("user name and password have settings of their own; a URL ends up in logs")
    return text.rstrip("/")


def _not_empty(secret: SecretStr) -> SecretStr:
    # What a variable that was never filled in gives. It must not count as a token or a password.
    if not secret.get_secret_value():
        raise ValueError("is empty; leave it out, or give it a value")
    return secret


ListenAddress = Annotated[str, AfterValidator(_checked_address)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Secret = Annotated[SecretStr, AfterValidator(_not_empty)]


class Section(BaseModel):
    """A table of the settings file; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_secret_file(setting: str, path: Path) -> str:
    """The first line of a secret file.

    Args:
        setting: what names the file, for the message.
        path: the file.

    Raises:
        SettingsError: unreadable, or empty.
    """
    try:
        secret = path.read_text().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{setting}: cannot read the secret file {path}: {_reason(error)}") from error
    if not secret:
        raise SettingsError(f"{setting}: the secret file {path} is empty")
    return secret


def _reason(error: OSError | UnicodeDecodeError) -> str:
    # Not the bytes, which are a secret.
    return error.strerror or "it fails" if isinstance(error, OSError) else "it is not text"


def secret_value(setting: str, value: SecretStr | None, file: Path | None) -> str | None:
    """A secret from a file, else from the value itself.

    Raises:
        SettingsError: the file, named by `setting` with `_file` behind it, is unreadable or empty.
    """
    if file is not None:
        return read_secret_file(f"{setting}_file", file)
    return value.get_secret_value() if value is not None else None


def only_one(section: _Section, name: str) -> _Section:
    """Refuses a secret that is given both as a value and as a file.

    Args:
        section: the table.
        name: of the secret; its file is `<name>_file`.

    Raises:
        ValueError: both are set.
    """
    if getattr(section, name) is not None and getattr(section, f"{name}_file") is not None:
        raise ValueError(f"set {name} or {name}_file, not both")
    return section


class RegistrySettings(Section):
    """The registry that is watched and written to.

    `name` is the host that users write in references, where it is not the one of `url`; it goes into
    statements.
    """

    url: HttpUrl
    name: str | None = None
    username: str | None = None
    password: Secret | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    docker_config: Path | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    plain_http_redirects: bool = False

    @model_validator(mode="after")
    def _one_credential(self) -> RegistrySettings:
        if self.docker_config is not None and self.username is not None:
            raise ValueError("set username and password or docker_config, not both")
        return only_one(self, "password")

    def secret(self) -> str | None:
        """The password, from wherever it was given."""
        return secret_value("registry.password", self.password, self.password_file)


class WebSettings(Section):
    """The listener for notifications and the API."""

    listen: ListenAddress = "127.0.0.1:8088"
    token: Secret | None = None
    token_file: Path | None = None
    read_token: Secret | None = None
    read_token_file: Path | None = None
    threads: Annotated[int, Field(ge=1, le=64)] = 8

    @model_validator(mode="after")
    def _one_token(self) -> WebSettings:
        return only_one(only_one(self, "token"), "read_token")

    def secret(self) -> str | None:
        """The token that notifications must carry, unless it is to be generated."""
        return secret_value("web.token", self.token, self.token_file)

    def read_secret(self) -> str | None:
        """The token that readers of the API must carry; None leaves reading open."""
        return secret_value("web.read_token", self.read_token, self.read_token_file)


class JobSettings(Section):
    """Where jobs are kept and how many run at a time."""

    database: Secret | None = None
    database_file: Path | None = None
    executor_id: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = None
    conversions: Annotated[int, Field(ge=1, le=256)] = 2
    publications: Annotated[int, Field(ge=1, le=256)] = 16
    sweep_interval_s: Annotated[float, Field(ge=10)] = 3600.0
    poll_interval_s: Annotated[float, Field(ge=0.01, le=10)] = 0.2
    retry_bound_s: Annotated[float, Field(ge=0)] = 6 * 3600.0
    drain_s: Annotated[float, Field(ge=0)] = 30.0

    @model_validator(mode="after")
    def _known_database(self) -> JobSettings:
        only_one(self, "database")
        if not (self.url() or "sqlite:///").startswith(("postgresql://", "sqlite:///")):
            raise ValueError("database is not a postgresql:// or sqlite:/// URL")
        return self

    def url(self) -> str | None:
        """The URL of the job database, from wherever it was given; it may hold a password."""
        return secret_value("jobs.database", self.database, self.database_file)

    @property
    def many_machines(self) -> bool:
        """Whether other machines may share these jobs."""
        return (self.url() or "").startswith("postgresql://")


class ConvertSettings(Section):
    """How layers are written. Everything here but `threads` changes the digests of converted images."""

    fs_version: Literal[5, 6] = 6
    compressor: Literal["zstd", "lz4_block", "none"] = "zstd"
    level: Annotated[int, Field(ge=1, le=19)] = 3
    chunk_size: Annotated[int, Field(ge=4096, le=16 << 20)] = 1 << 20
    digester: Literal["blake3", "sha256"] = "blake3"
    kernel_mountable: bool = False
    oci_ref: bool = False
    prefetch: tuple[str, ...] = ("/",)
    media_types: Literal["oci", "docker"] = "oci"
    share_layers: bool = False
    include_foreign: bool = False
    threads: Annotated[int, Field(ge=0, le=256)] = 0

    @model_validator(mode="after")
    def _kernel_reads_no_zstd(self) -> ConvertSettings:
        if self.kernel_mountable and self.compressor != "none":
            raise ValueError('kernel_mountable needs compressor = "none"')
        return self

    @model_validator(mode="after")
    def _references_have_sha256(self) -> ConvertSettings:
        if self.oci_ref and self.digester != "sha256":
            raise ValueError('oci_ref needs digester = "sha256"')
        return self


class DedupSettings(Section):
    """Where new versions of an image refer to chunks of earlier ones. All of it changes digests."""

    repositories: tuple[str, ...] = ()
    versions: Annotated[int, Field(ge=1, le=8)] = 1
    max_borrowed: Annotated[int, Field(ge=0, le=127)] = 16


class PublishSettings(Section):
    """Under which names converted images are published, beside `<tag>-nydus`."""

    merged_index: bool = False


class SigningSettings(Section):
    """The key that vouches for converted images: ECDSA P-256, generated at the first start unless given."""

    key_file: Path | None = None
    password: Secret | None = None
    password_file: Path | None = None
    builder_id: str = "https://dragonhook.dev/builder"

    @model_validator(mode="after")
    def _one_password(self) -> SigningSettings:
        return only_one(self, "password")

    def secret(self) -> str | None:
        """The password of the key file, from wherever it was given."""
        return secret_value("signing.password", self.password, self.password_file)


class S3Settings(Section):
    """How to reach an S3 server; empty means AWS, with the credentials of the instance or profile."""

    endpoint_url: HttpUrl | None = None
    region: str = "us-east-1"
    access_key: str | None = None
    secret_key: Secret | None = None
    secret_key_file: Path | None = None
    ca_bundle: Path | None = None
    path_style: bool = True

    @model_validator(mode="after")
    def _one_secret(self) -> S3Settings:
        return only_one(self, "secret_key")

    def secret(self, table: str) -> str | None:
        """The secret key, from wherever it was given; `table` says which table this is."""
        return secret_value(f"{table}.secret_key", self.secret_key, self.secret_key_file)


class StoreSettings(Section):
    """Where converted blobs rest: `filesystem:PATH` or `s3://BUCKET/PREFIX`."""

    location: str | None = None
    s3: S3Settings = S3Settings()
