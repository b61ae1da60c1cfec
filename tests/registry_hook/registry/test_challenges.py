import pytest

from registry_hook.registry.challenges import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], []),
        (["Basic"], [Challenge("basic", {})]),
        (['BASIC realm="a \\"b\\" c"'], [Challenge("basic", {"realm": 'a "b" c'})]),
        (
            ['Bearer realm="https://a.test/t?x=1,2",service="s",scope="repository:a/b:pull,push"'],
            [
                Challenge(
                    "bearer",
                    {"realm": "https://a.test/t?x=1,2", "service": "s", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        (
            ['Basic realm="r", Bearer realm = "b" , service=s'],
            [Challenge("basic", {"realm": "r"}), Challenge("bearer", {"realm": "b", "service": "s"})],
        ),
        (
            ['Bearer realm="a"', "Negotiate"],
            [Challenge("bearer", {"realm": "a"}), Challenge("negotiate", {})],
        ),
        (['Bearer realm="a",realm="evil"'], [Challenge("bearer", {"realm": "a"})]),  # the first one counts
        (['Bearer realm="unfinished'], [Challenge("bearer", {})]),
        (['"nonsense'], []),
    ],
)
def test_challenges_are_read(headers: list[str], expected: list[Challenge]) -> None:
    assert parse_challenges(headers) == expected


def test_a_huge_header_costs_no_time() -> None:
    assert len(parse_challenges(["a " * 1_000_000])) < 20_000
