"""Settings: the only module that reads the environment.

Values come, strongest first, from environment variables `DRAGONHOOK_<SECTION>__<NAME>`, then from a TOML
file (`--config`, else `DRAGONHOOK_CONFIG`, else `dragonhook.toml` in the working directory if there is one),
then from the defaults in `settings_sections`.
"""

from __future__ import annotations

import os
import re
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from registry_hook.errors import SettingsError
from registry_hook.settings_gateway import GatewaySection
from registry_hook.settings_sections import (
    ConvertSettings,
    DedupSettings,
    JobSettings,
    PublishSettings,
    RegistrySettings,
    SigningSettings,
    StoreSettings,
    WebSettings,
)
from registry_hook.settings_seeding import ENGINES, RangeCluster, SeedingSettings

ENVIRONMENT_PREFIX = "DRAGONHOOK_"
DEFAULT_FILE = "dragonhook.toml"
CONFIG_VARIABLE = "DRAGONHOOK_CONFIG"
# Kubernetes tells each pod about the services of its namespace by variables named after them, so about one
# called `dragonhook` by names that begin like ours.
_SERVICE_LINK = re.compile(
    r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


class Settings(BaseSettings):
    """Everything that can be set. Build it with `load`."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    state_dir: Path = Path("/var/lib/dragonhook")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    registry: RegistrySettings
    web: WebSettings = WebSettings()
    jobs: JobSettings = JobSettings()
    convert: ConvertSettings = ConvertSettings()
    dedup: DedupSettings = DedupSettings()
    publish: PublishSettings = PublishSettings()
    signing: SigningSettings = SigningSettings()
    store: StoreSettings = StoreSettings()
    gateway: GatewaySection = GatewaySection()
    seeding: SeedingSettings = SeedingSettings()

    @model_validator(mode="after")
    def _some_forms_share_no_blobs(self) -> Settings:
        if self.convert.oci_ref and self.dedup.repositories:
            raise ValueError("convert.oci_ref leaves data where they are, so it excludes dedup.repositories")
        if self.convert.fs_version != 6 and self.dedup.repositories:
            raise ValueError(
                "images of RAFS 5 share none, so convert.fs_version 5 excludes dedup.repositories"
            )
        return self

    @model_validator(mode="after")
    def _answers_lead_somewhere(self) -> Settings:
        cluster = self.seeding.gateway_cluster(self.gateway.cluster)
        if self.gateway.answer == "peer-redirect" and cluster is None:
            raise ValueError('gateway.answer = "peer-redirect" needs a cluster whose peers serve ranges')
        if self.gateway.answer == "store-redirect" and not self.store_location.startswith("s3://"):
            raise ValueError('gateway.answer = "store-redirect" needs store.location to be s3://…')
        return self

    @model_validator(mode="after")
    def _many_machines_share_nothing_generated(self) -> Settings:
        if not self.jobs.many_machines:
            return self
        # Each machine would generate its own, and neither the registry nor a verifier can know several.
        if self.signing.key_file is None:
            raise ValueError(
                "signing.key_file is required with a Postgres job database: every machine must sign with "
                "the same key, so none is generated"
            )
        if self.web.secret() is None:
            raise ValueError(
                "web.token or web.token_file is required with a Postgres job database: every machine must "
                "accept the same token, so none is generated"
            )
        return self

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the job database."""
        return self.jobs.url() or f"sqlite:///{self.state_dir / 'jobs.sqlite'}"

    @property
    def store_location(self) -> str:
        """Where converted blobs rest."""
        return self.store.location or f"filesystem:{(self.state_dir / 'store').absolute()}"

    @property
    def gateway_cluster(self) -> RangeCluster | None:
        """The P2P cluster that the gateway reads from; None serves from the store only."""
        return self.seeding.gateway_cluster(self.gateway.cluster)

    @property
    def gateway_cache_dir(self) -> Path:
        """Where the gateway keeps what it fetched whole from peers."""
        return self.gateway.cache_dir or self.state_dir / "gateway-cache"

    @property
    def signing_key_file(self) -> Path:
        """The private key; made at the first start where it is ours."""
        return self.signing.key_file or self.state_dir / "signing.key"

    @property
    def public_key_file(self) -> Path:
        """Where the public half of the key in use is written, for those who verify."""
        return self.state_dir / "signing.pub"

    @property
    def token_file(self) -> Path:
        """Where the generated token is kept."""
        return self.state_dir / "webhook.token"

    @property
    def spool_dir(self) -> Path:
        """Where images are converted before anything is uploaded."""
        return self.state_dir / "spool"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base class fixes the signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before file, and no `.env` file: it would depend on the working directory."""
        return (env_settings, init_settings)


def load(config: Path | None = None) -> Settings:
    """Reads the settings.

    Args:
        config: the TOML file; without it the one named by `DRAGONHOOK_CONFIG`, else `dragonhook.toml` if it
            exists.

    Raises:
        SettingsError: the file cannot be read, or a value is missing, unknown or out of range; one line a
            problem.
    """
    path = config_path(config)
    try:
        values = TomlConfigSettingsSource(Settings, toml_file=path)() if path is not None else {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read the settings file {path}: {error}") from error
    _refuse_unknown_variables()
    values.setdefault("registry", {})  # so that what is missing is called registry.url
    try:
        return Settings(**values)
    except ValidationError as error:
        where = str(path) if path is not None else "no settings file"
        raise SettingsError(f"settings ({where}):\n" + "\n".join(_problems(error))) from error


def _refuse_unknown_variables() -> None:
    # pydantic-settings looks only for the variables it knows, so a misspelt one would silently do nothing.
    for name, value in os.environ.items():
        section = name.removeprefix(ENVIRONMENT_PREFIX).partition("__")[0].lower()
        ours = name.startswith(ENVIRONMENT_PREFIX) and name != CONFIG_VARIABLE
        if ours and section not in Settings.model_fields and not _is_service_link(name, value):
            raise SettingsError(f"the environment variable {name} is not a setting; check the spelling")


def _is_service_link(name: str, value: str) -> bool:
    address = value.startswith(("tcp://", "udp://", "sctp://"))
    return _SERVICE_LINK.fullmatch(name) is not None or (name.endswith("_PORT") and address)


def config_path(config: Path | None) -> Path | None:
    """The settings file to read, or None when everything comes from the environment.

    Raises:
        SettingsError: a file was named and does not exist.
    """
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    if named is None:
        return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None
    if not named.is_file():
        raise SettingsError(f"the settings file {named} does not exist")
    return named


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        path, message = item["loc"], _message(item)
        if not path:
            lines.append(f"  {message}")
            continue
        lines.append(f"  {_dotted(path)}: {message} (environment: {_variable(path)})")
    return lines


def _dotted(path: tuple[int | str, ...]) -> str:
    """A setting by its name, with the number of a table in its array, from 1."""
    words: list[str] = []
    for before, part in zip((None, *path), path, strict=False):
        if isinstance(part, int):
            words[-1] += f"[{part + 1}]"
        elif not isinstance(before, int) or part not in ENGINES:  # pydantic names the kind of a table, too
            words.append(part)
    return ".".join(words)


def _variable(path: tuple[int | str, ...]) -> str:
    """The variable that sets it; an array of tables has one for all of it."""
    names = takewhile(lambda part: isinstance(part, str), path)
    return ENVIRONMENT_PREFIX + "__".join(str(part).upper() for part in names)


def _message(item: Any) -> str:
    if item["type"] == "missing":
        return "is required"
    if item["type"] == "extra_forbidden":
        return "is not a setting; check the spelling"
    return str(item["msg"]).removeprefix("Value error, ")
