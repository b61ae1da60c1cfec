from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest

from registry_hook.registry import RegistryUnavailableError, RetryPolicy
from registry_hook.registry.retry import REPEATABLE, RetryTransport


def transport(
    answers: list[int | Exception], policy: RetryPolicy, headers: dict[str, str] | None = None
) -> tuple[httpx.Client, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = answers[min(len(seen), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer, headers=headers)

    return httpx.Client(transport=RetryTransport(httpx.MockTransport(handle), policy)), seen


def recorder(fraction: float = 0.999) -> tuple[list[float], Callable[..., RetryPolicy]]:
    pauses: list[float] = []
    return pauses, lambda **more: RetryPolicy(sleep=pauses.append, fraction=lambda: fraction, **more)


@pytest.mark.parametrize(
    "problem", [429, 502, 503, 504, httpx.ReadError("reset"), httpx.ConnectError("refused")]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_passing_problems_are_repeated(problem: int | Exception, method: str) -> None:
    pauses, policy = recorder()
    client, seen = transport([problem, problem, 200], policy())
    assert client.request(method, "https://r.test/").status_code == 200
    assert len(seen) == 3
    assert len(pauses) == 2


@pytest.mark.parametrize("status", [200, 400, 401, 404, 416, 500])
def test_other_answers_are_not(status: int) -> None:
    client, seen = transport([status, 200], RetryPolicy(sleep=lambda _: None))
    assert client.get("https://r.test/").status_code == status
    assert len(seen) == 1


def test_attempts_and_pauses_are_bounded() -> None:
    pauses, policy = recorder()
    client, seen = transport([503], policy(attempts=6, first_pause_s=1, longest_pause_s=3))
    assert client.get("https://r.test/").status_code == 503
    assert len(seen) == 6
    assert pauses == pytest.approx([1, 2, 3, 3, 3], rel=0.01)


def test_the_last_error_comes_out() -> None:
    client, seen = transport([httpx.ReadTimeout("slow")], RetryPolicy(attempts=3, sleep=lambda _: None))
    with pytest.raises(httpx.ReadTimeout):
        client.get("https://r.test/")
    assert len(seen) == 3


def test_a_body_is_sent_again() -> None:
    client, seen = transport([503, 201], RetryPolicy(sleep=lambda _: None))
    client.put("https://r.test/", content=b"body")
    assert [request.content for request in seen] == [b"body", b"body"]


@pytest.mark.parametrize("problem", [503, httpx.ReadError("reset")])
def test_a_patch_is_not_repeated(problem: int | Exception) -> None:
    client, seen = transport([problem, 202], RetryPolicy(sleep=lambda _: None))
    with suppress(httpx.ReadError):
        client.patch("https://r.test/")
    assert len(seen) == 1


def test_a_request_can_say_whether_it_may_be_repeated() -> None:
    client, seen = transport([503, 202], RetryPolicy(sleep=lambda _: None))
    client.post("https://r.test/", extensions={REPEATABLE: True})
    assert len(seen) == 2
    client, seen = transport([503, 202], RetryPolicy(sleep=lambda _: None))
    client.put("https://r.test/", extensions={REPEATABLE: False})
    assert len(seen) == 1


def test_anything_is_repeated_that_never_left() -> None:
    client, seen = transport([httpx.ConnectError("refused"), 202], RetryPolicy(sleep=lambda _: None))
    client.patch("https://r.test/")
    assert len(seen) == 2


@pytest.mark.parametrize(("value", "pause"), [("2", 2.0), ("3600", 10.0), ("soon", 0.0), ("-1", 0.0)])
def test_retry_after_is_heeded_up_to_a_bound(value: str, pause: float) -> None:
    pauses, policy = recorder(fraction=0.0)
    client, _ = transport([429, 200], policy(), {"Retry-After": value})
    client.get("https://r.test/")
    assert pauses == [pause]


def test_run_repeats_only_what_may_pass() -> None:
    policy = RetryPolicy(attempts=3, sleep=lambda _: None)
    outcomes: list[Exception | int] = [RegistryUnavailableError("down"), 7]

    def action() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert policy.run(action) == 7
    outcomes[:] = [RegistryUnavailableError("down")] * 4
    with pytest.raises(RegistryUnavailableError):
        policy.run(action)
    assert len(outcomes) == 1
    outcomes[:] = [ValueError("not ours"), 7]
    with pytest.raises(ValueError, match="not ours"):
        policy.run(action)
