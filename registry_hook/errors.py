"""Errors of the application, split by what the caller does next.

::

    HookError (Exception)
    ├── SettingsError       a person has to change the settings; the process ends
    ├── UnavailableError    our own database or disk does not work; ask again later
    │   └── NotStoredError  what we were about to acknowledge is not durable; the sender must retry
    ├── RetryLater          something outside is down; the job engine runs the step again later
    └── JobFailed           the job can never succeed as it is; kept with the job and shown in one line
"""


class HookError(Exception):
    """Base class of this package's errors."""


class SettingsError(HookError):
    """Settings that cannot be used, one line a problem."""


class UnavailableError(HookError):
    """The job database or the local disk does not work now."""


class NotStoredError(UnavailableError):
    """The job database or the disk did not take what we are about to acknowledge."""


class RetryLater(HookError):  # noqa: N818 - it asks for something rather than reporting a fault
    """A registry, store or disk that is unavailable now and may be available later."""


class JobFailed(HookError):  # noqa: N818 - the past tense is what a job's last state says
    """A job that ends without its result.

    Args:
        message: why, in one line.
        bad_input: True when the image itself is at fault, so that running again is useless.
    """

    def __init__(self, message: str, *, bad_input: bool = False) -> None:
        super().__init__(" ".join(message.split()))
        self.bad_input = bad_input
