"""Turns the errors of the other packages into what the job engine understands: later, or never.

The registry client repeats requests for seconds by itself. What still fails is repeated by the engine after a
while, up to a bound: a registry that is down for an hour must not fail jobs.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from converter.errors import ConvertError
from converter.oci import OciError
from p2p_seed.errors import EngineUnavailableError, SeedingError, SourceUnreadableError, StoreUnavailableError
from registry_hook.errors import JobFailed, RetryLater, UnavailableError
from registry_hook.registry.errors import ContentError, RegistryError, RetryLaterError
from signer.errors import SignerError

_LATER: Final = (
    RetryLaterError, StoreUnavailableError, SourceUnreadableError, EngineUnavailableError, UnavailableError,
)  # fmt: skip
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def translated(*, reads_source: bool = False) -> Iterator[None]:
    """Lets only `RetryLater`, `JobFailed` and programming errors out.

    Args:
        reads_source: whether wrong content means that the source image is at fault. Anywhere else it is ours,
            such as a converted blob that arrived damaged, and a sweep has to try again.

    Raises:
        RetryLater: the registry, the store or the disk may work later.
        JobFailed: they never will. `bad_input` is set where the source image is at fault.
    """
    try:
        yield
    except _LATER as error:
        # A spooled file that is gone is made again by the next try.
        raise RetryLater(str(error)) from error
    except (ConvertError, ContentError, OciError) as error:
        raise JobFailed(str(error), bad_input=reads_source) from error
    except (RegistryError, SeedingError, SignerError) as error:
        raise JobFailed(str(error)) from error
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise RetryLater(f"the disk is full: {error}") from error
        raise
