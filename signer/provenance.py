"""SLSA provenance v1 of a conversion: who made the converted image, from what, how and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from converter.chunk_manifest import BUILD_TYPE, ChunkManifestError, SourceImage, format_time
from converter.chunk_manifest.fields import Fields, digest_set
from converter.oci import Descriptor, Digest
from signer.errors import InvalidRequestError, MalformedError
from signer.statements import Statement

PREDICATE_PROVENANCE: Final = "https://slsa.dev/provenance/v1"
DEFAULT_BUILDER_ID: Final = "https://dragonhook.dev/builder"
_MAX_DEPENDENCIES: Final = 1024
_CHUNK_DICTIONARY: Final = "chunk-dictionary"  # the name of such a dependency


@dataclass(frozen=True, slots=True)
class Build:
    """The run that made the image. Times and ids are the caller's, so that a repeated step repeats them.

    Args:
        builder_id: URI that policies match; one for each trust domain, not for each version.
        versions: versions of the builder's parts, by name.
        parameters: what the user chose: everything that changes the output's bytes.
        source_verification: how the source's own signature was checked, or "not verified".
        invocation_id: id of the job.
        started_on: with a time zone.
        finished_on: with a time zone.
        trigger: what started it, such as an event's id, for people.
        dictionary: converted images of the same repository that the image shares blobs with, in the order in
            which they were asked.
    """

    builder_id: str
    versions: Mapping[str, str]
    parameters: Mapping[str, str | int | bool]
    source_verification: str
    invocation_id: str
    started_on: datetime
    finished_on: datetime
    trigger: Mapping[str, str] = field(default_factory=dict)
    dictionary: tuple[Digest, ...] = ()


def provenance_statement(
    repository: str, digest: Digest, source: SourceImage, build: Build, byproducts: Sequence[Descriptor] = ()
) -> Statement:
    """The provenance of the converted image (or index) `digest` in `repository`.

    Args:
        repository: with host.
        digest: of the converted image or index.
        source: what was converted.
        build: the run.
        byproducts: chunk lists.

    Raises:
        InvalidRequestError: a time of the build has no time zone.
    """
    try:
        started, finished = format_time(build.started_on), format_time(build.finished_on)
    except ValueError as error:
        raise InvalidRequestError(f"the build of {digest} cannot be stated: {error}") from error
    seen_as = f"{source.repository}:{source.tag}" if source.tag else f"{source.repository}@{source.digest}"
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {**build.parameters, "source": seen_as, "target": repository},
            "internalParameters": {**build.trigger, "sourceVerification": build.source_verification},
            "resolvedDependencies": _dependencies(source) + _dictionary(repository, build.dictionary),
        },
        "runDetails": {
            "builder": {"id": build.builder_id, "version": dict(build.versions)},
            "metadata": {
                "invocationId": build.invocation_id,
                "startedOn": started,
                "finishedOn": finished,
            },
            "byproducts": [
                {"name": "chunklist", "digest": digest_set(item.digest), "mediaType": item.media_type}
                for item in byproducts
            ],
        },
    }
    return Statement(PREDICATE_PROVENANCE, digest, repository, predicate)


def _dependencies(source: SourceImage) -> list[dict[str, Any]]:
    dependencies: list[dict[str, Any]] = [
        {
            "name": "source",
            "uri": f"oci://{source.repository}@{source.digest}",
            "digest": digest_set(source.digest),
            "mediaType": source.media_type,
        }
    ]
    if source.index_digest:
        dependencies.append(
            {
                "name": "source-index",
                "uri": f"oci://{source.repository}@{source.index_digest}",
                "digest": digest_set(source.index_digest),
            }
        )
    return dependencies


def _dictionary(repository: str, images: Sequence[Digest]) -> list[dict[str, Any]]:
    return [
        {"name": _CHUNK_DICTIONARY, "uri": f"oci://{repository}@{digest}", "digest": digest_set(digest)}
        for digest in images
    ]


@dataclass(frozen=True, slots=True)
class Provenance:
    """The fields of a provenance predicate that rules depend on; and the chunk dictionary, for people."""

    build_type: str
    builder_id: str
    source_digest: Digest
    dictionary: tuple[Digest, ...] = ()

    @classmethod
    def from_predicate(cls, value: object) -> Provenance:
        """Reads a predicate of type `PREDICATE_PROVENANCE`.

        Raises:
            MalformedError: a field is missing or malformed, or not exactly one dependency is called "source".
        """
        try:
            fields = Fields(value, "provenance")
            definition = fields.child("buildDefinition")
            dependencies = definition.children("resolvedDependencies", _MAX_DEPENDENCIES)
            sources = [item for item in dependencies if item.optional_text("name") == "source"]
            if len(sources) != 1:
                raise MalformedError(f"the provenance has {len(sources)} dependencies called source")
            return cls(
                definition.text("buildType"),
                fields.child("runDetails").child("builder").text("id"),
                sources[0].digest("digest"),
                tuple(
                    item.digest("digest")
                    for item in dependencies
                    if item.optional_text("name") == _CHUNK_DICTIONARY
                ),
            )
        except ChunkManifestError as error:
            raise MalformedError(str(error)) from error
