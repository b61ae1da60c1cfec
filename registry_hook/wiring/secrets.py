"""Key and token: those that the settings give, else some that are made at the first start."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import structlog

from registry_hook.errors import SettingsError
from registry_hook.settings import Settings
from registry_hook.settings_sections import read_secret_file
from registry_hook.state import make_private
from signer.errors import KeyFileError
from signer.keys import SigningKey

_log = structlog.get_logger(__name__)


def signing_key(settings: Settings) -> SigningKey:
    """The key: the one given, else one that is made at the first start.

    Its public half is written into the state directory for those who verify.

    Raises:
        SettingsError: the key file cannot be used.
    """
    password = (settings.signing.secret() or "").encode() or None
    try:
        if settings.signing.key_file is not None:
            key = SigningKey.load(settings.signing.key_file, password)
        else:
            key = SigningKey.load_or_generate(settings.signing_key_file, password)
    except KeyFileError as error:
        raise SettingsError(f"{_key_settings(settings)}: {error}") from error
    _publish_file(settings.public_key_file, key.public_key.pem)
    return key


def _key_settings(settings: Settings) -> str:
    """The settings that may be wrong when the key cannot be used: its file and its password."""
    key = "state_dir" if settings.signing.key_file is None else "signing.key_file"
    if not settings.signing_key_file.is_file():
        return key
    if settings.signing.password_file is not None:
        return f"{key}, signing.password_file"
    if settings.signing.password is not None:
        return f"{key}, signing.password"
    return f"{key} (signing.password is not set)"


def webhook_token(settings: Settings) -> str:
    """The token that notifications must carry: the one given, else one that is made at the first start."""
    given = settings.web.secret()
    if given is not None:
        return given
    path = settings.token_file
    make_private(path.parent)
    if not path.exists():
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        try:
            # Fails where another process of the service was faster: all of them use one token.
            os.link(partial, path)
            _log.info("made a token for notifications", file=str(path))
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return read_secret_file("state_dir", path)


def _publish_file(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() == content:
        return
    make_private(path.parent)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    partial.write_bytes(content)
    partial.rename(path)
