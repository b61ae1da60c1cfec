"""The command-line clients as the tests use them: skopeo, oras, cosign."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.peers.programs import run_program


def skopeo_copy(
    source: str, destination: str, *options: str, authfile: Path | None = None, timeout_s: float = 300
) -> None:
    """Copies an image; plain HTTP registries are allowed, and a manifest keeps its bytes.

    Args:
        source: `oci:DIR:TAG`, `docker://HOST/NAME:TAG`, …
        destination: as `source`.
        options: more of skopeo's options for `copy`.
        authfile: a docker config with credentials.
        timeout_s: longest time it may take.

    Raises:
        ProgramError: skopeo failed.
    """
    auth = ["--authfile", str(authfile)] if authfile else []
    run_program(
        "skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests",
        "--src-tls-verify=false", "--dest-tls-verify=false",
        *auth, *options, source, destination, timeout_s=timeout_s,
    )  # fmt: skip


def oras_discover(reference: str) -> list[dict[str, Any]]:
    """The referrers of an image as oras finds them: descriptors with `artifactType` and `annotations`."""
    found = json.loads(run_program("oras", "discover", "--plain-http", "--format", "json", reference))
    referrers = found.get("referrers") or found.get("manifests") or []
    return [dict(entry) for entry in referrers]


def oras_pull(reference: str, directory: Path) -> None:
    """Pulls the files of an artifact into `directory`."""
    run_program("oras", "pull", "--plain-http", "--output", directory, reference)


def cosign_verify(reference: str, public_key: Path) -> str:
    """`cosign verify` with a key and no transparency log.

    Raises:
        ProgramError: it found no valid signature.
    """
    return run_program("cosign", "verify", *_KEY_ONLY, "--key", public_key, reference)


def cosign_verify_attestation(reference: str, public_key: Path, predicate_type: str) -> str:
    """`cosign verify-attestation` of one predicate type; output and errors as `cosign_verify`."""
    return run_program(
        "cosign", "verify-attestation", *_KEY_ONLY, "--key", public_key, "--type", predicate_type, reference
    )


_KEY_ONLY = ("--insecure-ignore-tlog", "--allow-http-registry")
