"""Whose fault is it? A sweep passes over images that failed by their own fault, so nothing else may count."""

import errno

import pytest

from converter.errors import InvalidLayerError
from converter.oci import Digest, InvalidManifestError
from p2p_seed.errors import StoreConfigurationError, StoreUnavailableError
from registry_hook.errors import JobFailed, RetryLater
from registry_hook.registry import errors
from registry_hook.stages.outside import translated
from signer.errors import SignerError

DIGEST = Digest.of(b"")


WRONG_CONTENT = [
    InvalidLayerError("the tar ends early"),
    InvalidManifestError("not JSON"),
    errors.DigestMismatchError("a layer", DIGEST, None),
    errors.SizeMismatchError("a layer", 1, 2),
]


@pytest.mark.parametrize("error", WRONG_CONTENT)
def test_the_images_own_faults(error: Exception) -> None:
    with pytest.raises(JobFailed, match=str(error)[:20]) as caught, translated(reads_source=True):
        raise error
    assert caught.value.bad_input


@pytest.mark.parametrize("error", WRONG_CONTENT)
def test_wrong_content_that_is_not_the_images(error: Exception) -> None:
    with pytest.raises(JobFailed, match=str(error)[:20]) as caught, translated():
        raise error
    assert not caught.value.bad_input


@pytest.mark.parametrize(
    "error",
    [
        errors.ProtocolError("the answer is not JSON"),
        errors.ConfigurationError("redirects to plain HTTP"),
        errors.DeniedError("no", 403),
        StoreConfigurationError("no such bucket"),
        SignerError("no key"),
    ],
)
@pytest.mark.parametrize("reads_source", [False, True])
def test_faults_of_the_surroundings(error: Exception, reads_source: bool) -> None:
    with pytest.raises(JobFailed, match=str(error)) as caught, translated(reads_source=reads_source):
        raise error
    assert not caught.value.bad_input


@pytest.mark.parametrize(
    "error",
    [
        errors.RegistryUnavailableError("down"),
        errors.ReferrersConflictError("changed"),
        StoreUnavailableError("down"),
        OSError(errno.ENOSPC, "no space"),
    ],
)
def test_what_may_work_later(error: Exception) -> None:
    with pytest.raises(RetryLater), translated():
        raise error


def test_other_system_errors_are_not_explained_away() -> None:
    with pytest.raises(PermissionError), translated():
        raise PermissionError(errno.EACCES, "denied")
