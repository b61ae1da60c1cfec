"""The webhook and the API, over Flask's own test client."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from structlog.testing import capture_logs

from registry_hook.jobs.model import JobQuery, JobState
from registry_hook.set_aside import SetAsideBodies
from registry_hook.web import create_app
from registry_hook.webhook import MAX_BODY_BYTES, PATH
from tests.registry_hook.fake_jobs import FakeJobs
from tests.registry_hook.test_notification import DIGEST, HEX, V1, V2, event

TOKEN = "correct horse"
EVENT_ID = "01a209d8-b813-7244-9180-c884967949b2"
SWEEP_ID = "sweep-instance-01a209d8-4cd3-767c-8e9b-4f1f0fd813c9"


@pytest.fixture
def jobs() -> FakeJobs:
    return FakeJobs()


@pytest.fixture
def aside(tmp_path: Path) -> Path:
    return tmp_path / "set-aside"


@pytest.fixture
def client(jobs: FakeJobs, aside: Path) -> FlaskClient:
    return create_app(jobs, SetAsideBodies(aside), TOKEN, now_s=lambda: 1234.5).test_client()


def post(client: FlaskClient, body: bytes, *, token: str | None = TOKEN, content_type: str = V2) -> int:
    headers = {"Content-Type": content_type}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return client.post(PATH, data=body, headers=headers).status_code


def envelope(*events: Any) -> bytes:
    return json.dumps({"events": list(events)}).encode()


def publications(jobs: FakeJobs) -> list[str]:
    return [job.job_id for job in reversed(jobs.list_jobs(JobQuery(kinds=("publication",))))]


def test_a_push_becomes_a_publication_of_its_own_and_a_new_registry_process_a_sweep(
    client: FlaskClient, jobs: FakeJobs, aside: Path
) -> None:
    assert post(client, envelope(event())) == 202
    assert list(jobs.jobs) == [SWEEP_ID, f"publication-{EVENT_ID}"]
    assert jobs.jobs[f"publication-{EVENT_ID}"].arguments == {
        "repository": "demo/app", "tag": "v1", "pushed": DIGEST, "received_s": 1234.5,
    }  # fmt: skip
    assert not aside.exists()


@pytest.mark.parametrize("content_type", [V1, V2])
def test_an_event_sent_again_is_one_job(client: FlaskClient, jobs: FakeJobs, content_type: str) -> None:
    for _ in range(5):
        assert post(client, envelope(event()), content_type=content_type) == 202
    assert publications(jobs) == [f"publication-{EVENT_ID}"]


def test_the_same_digest_pushed_again_is_another_job(client: FlaskClient, jobs: FakeJobs) -> None:
    post(client, envelope(event(id="a"), event(id="b", tag="v2"), event(id="c")))
    assert publications(jobs) == ["publication-a", "publication-b", "publication-c"]


def test_an_odd_event_id_still_names_a_job(client: FlaskClient, jobs: FakeJobs) -> None:
    assert post(client, envelope(event(id="../../x"))) == 202
    (job_id,) = publications(jobs)
    assert job_id.removeprefix("publication-").isalnum()


LONE_SURROGATE = "\ud800"


@pytest.mark.parametrize(
    "odd",
    [
        event(id=LONE_SURROGATE), event(source={"instanceID": LONE_SURROGATE}), event(tag=LONE_SURROGATE),
        event(action=LONE_SURROGATE),
    ],
    ids=["id", "instance", "tag", "action"],
)  # fmt: skip
def test_what_would_be_refused_for_ever_is_acknowledged(
    client: FlaskClient, jobs: FakeJobs, odd: dict[str, Any]
) -> None:
    assert post(client, envelope(odd, event(id="behind"))) == 202
    assert "publication-behind" in publications(jobs)


def test_the_longest_envelope_that_a_pusher_can_make_the_registry_send_is_accepted(
    client: FlaskClient, jobs: FakeJobs
) -> None:
    # 4 MiB of empty strings in the index, each on a line of its own in the envelope.
    assert post(client, envelope(event()) + b" " * (4 * 1024 * 1024 // 3 * 28)) == 202
    assert publications(jobs) == [f"publication-{EVENT_ID}"]


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "Bearer " + TOKEN])
def test_a_missing_or_wrong_token_is_refused_and_nothing_is_stored(
    client: FlaskClient, jobs: FakeJobs, aside: Path, token: str | None
) -> None:
    assert post(client, envelope(event()), token=token) == 401
    assert post(client, b"poison", token=token) == 401
    assert not jobs.jobs
    assert not aside.exists()


def test_refusals_are_counted_and_logged_once_a_minute_without_the_secret(
    jobs: FakeJobs, aside: Path
) -> None:
    now_s = [1000.0]
    app = create_app(jobs, SetAsideBodies(aside), TOKEN, now_s=lambda: now_s[0])
    client = app.test_client()
    with capture_logs() as entries:
        post(client, envelope(event()), token=None)
        for _ in range(500):
            post(client, envelope(event()), token="hush")
        now_s[0] += 61
        post(client, envelope(event()), token="hush")
        post(client, envelope(event()), token="hush")
        post(client, envelope(event()))
    assert [(entry["token"], entry["refused"]) for entry in entries] == [("missing", 1), ("wrong", 501)]
    assert {entry["log_level"] for entry in entries} == {"warning"}
    assert {entry["client"] for entry in entries} == {"127.0.0.1"}
    assert "hush" not in str(entries)
    assert TOKEN not in str(entries)
    metrics = client.get("/metrics").text
    assert 'dragonhook_notifications_refused_total{token="missing"} 1.0' in metrics
    assert 'dragonhook_notifications_refused_total{token="wrong"} 502.0' in metrics


def test_another_scheme_is_refused(client: FlaskClient) -> None:
    response = client.post(PATH, data=b"", headers={"Authorization": f"Basic {TOKEN}"})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "body",
    [b"not json", b"", envelope(event(digest="")), envelope(event(action="teleport")), b"[]"],
)
def test_poison_is_acknowledged_and_set_aside_without_a_job(
    client: FlaskClient, jobs: FakeJobs, aside: Path, body: bytes
) -> None:
    assert post(client, body) == 202
    assert publications(jobs) == []
    (kept,) = aside.iterdir()
    assert kept.read_bytes() == body
    assert post(client, body) == 202
    assert len(list(aside.iterdir())) == 1


def test_events_beside_a_poisoned_one_go_on(client: FlaskClient, jobs: FakeJobs, aside: Path) -> None:
    assert post(client, envelope(event(id="a", digest=""), event(id="b"))) == 202
    assert publications(jobs) == ["publication-b"]
    assert len(list(aside.iterdir())) == 1


@pytest.mark.parametrize(
    "changes", [{"action": "pull"}, {"tag": None}, {"tag": f"sha256-{HEX}.sig"}, {"action": "delete"}]
)
def test_the_unwanted_is_acknowledged_and_forgotten(
    client: FlaskClient, jobs: FakeJobs, aside: Path, changes: dict[str, Any]
) -> None:
    assert post(client, envelope(event(**changes))) == 202
    assert publications(jobs) == []
    assert not aside.exists()


def test_what_cannot_be_stored_is_not_acknowledged(client: FlaskClient, jobs: FakeJobs) -> None:
    jobs.broken = True
    assert post(client, envelope(event())) == 503
    jobs.broken = False
    assert post(client, envelope(event())) == 202
    assert publications(jobs) == [f"publication-{EVENT_ID}"]
    assert SWEEP_ID in jobs.jobs


def test_poison_that_cannot_be_stored_is_not_acknowledged(client: FlaskClient, aside: Path) -> None:
    aside.write_text("a file where the directory should be")
    assert post(client, b"poison") == 503


def test_a_body_over_the_limit_is_refused(client: FlaskClient) -> None:
    assert post(client, b" " * (MAX_BODY_BYTES + 1)) == 413


def test_a_known_registry_process_asks_for_no_second_sweep(client: FlaskClient, jobs: FakeJobs) -> None:
    for number in range(3):
        post(client, envelope(event(id=f"e{number}")))
    post(client, envelope(event(id="x", source={"addr": "vm:5000", "instanceID": "another"})))
    sweeps = [job_id for job_id in jobs.jobs if job_id.startswith("sweep-")]
    assert sweeps == [SWEEP_ID, "sweep-instance-another"]


def test_only_the_newest_set_aside_bodies_are_kept(tmp_path: Path) -> None:
    bodies = SetAsideBodies(tmp_path / "a", max_files=3)
    kept = [bodies.keep(str(number).encode()) for number in range(5)]
    assert {path.read_text() for path in (tmp_path / "a").iterdir()} <= {str(n) for n in range(5)}
    assert len(list((tmp_path / "a").iterdir())) == 3
    assert kept[4].exists()


def test_set_aside_bodies_do_not_fill_the_disk(tmp_path: Path) -> None:
    bodies = SetAsideBodies(tmp_path / "a", max_bytes=2500)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "left-by-a-kill.1-2").write_bytes(bytes(2000))
    os.utime(tmp_path / "a" / "left-by-a-kill.1-2", (1, 1))
    kept = [bodies.keep(str(number).encode() * 1000) for number in range(4)]
    assert sorted((tmp_path / "a").iterdir()) == sorted(kept[2:])
    assert bodies.keep(bytes(5000)).exists(), "the newest stays, whatever its size"


def test_health_and_readiness(client: FlaskClient, jobs: FakeJobs) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    jobs.broken = True
    assert client.get("/healthz").status_code == 200
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["problems"] == {"jobs": "no database"}


def test_jobs_are_listed_by_page_and_filter(client: FlaskClient, jobs: FakeJobs) -> None:
    post(client, envelope(*(event(id=f"e{number}") for number in range(5))))
    jobs.fail("publication-e3", "layer 1: gzip ends early", bad_input=True)
    page = client.get("/v1/jobs?kind=publication&limit=2&offset=1").get_json()
    assert [job["id"] for job in page["jobs"]] == ["publication-e3", "publication-e2"]
    assert page["next_offset"] == 3
    last = client.get("/v1/jobs?kind=publication&limit=2&offset=4").get_json()
    assert last["next_offset"] is None
    failed = client.get("/v1/jobs?state=failed&state=cancelled").get_json()["jobs"]
    assert [(job["id"], job["error"]) for job in failed] == [("publication-e3", "layer 1: gzip ends early")]


def test_the_api_says_when_there_is_no_database(client: FlaskClient, jobs: FakeJobs) -> None:
    jobs.broken = True
    for path in ("/v1/jobs", "/v1/jobs/x"):
        response = client.get(path)
        assert (response.status_code, response.get_json()) == (503, {"error": "no database"})


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit is a number from 1 to 500"),
        ("limit=501", "limit is a number from 1 to 500"),
        ("offset=-1", "offset is a number from 0 to 1000000"),
        ("offset=٣", "offset is a number"),
        ("state=gone", "state is one of queued, running"),
        ("tag=v1", "unknown parameter 'tag'"),
    ],
)
def test_a_bad_query_is_explained(client: FlaskClient, query: str, message: str) -> None:
    response = client.get(f"/v1/jobs?{query}")
    assert response.status_code == 400
    assert message in response.get_json()["error"]


def test_a_job_is_shown_with_its_steps(client: FlaskClient) -> None:
    post(client, envelope(event()))
    shown = client.get(f"/v1/jobs/publication-{EVENT_ID}").get_json()
    assert (shown["kind"], shown["state"], shown["created"]) == (
        "publication", "queued", "1970-01-01T00:16:41.000+00:00",
    )  # fmt: skip
    assert [step["name"] for step in shown["steps"]] == ["resolve"]
    assert client.get("/v1/jobs/none").status_code == 404


def test_reading_can_need_a_token_of_its_own(jobs: FakeJobs, aside: Path) -> None:
    client = create_app(jobs, SetAsideBodies(aside), TOKEN, read_token="reader").test_client()
    for path in ("/v1/jobs", "/v1/jobs/x", "/metrics"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401
        assert client.get(path, headers={"Authorization": "Bearer reader"}).status_code in (200, 404)
    assert client.get("/readyz").status_code == 200


def test_metrics_count_events_and_jobs(client: FlaskClient, jobs: FakeJobs) -> None:
    post(client, envelope(event(), event(action="pull")))
    post(client, b"poison")
    text = client.get("/metrics").get_data(as_text=True)
    for line in (
        'dragonhook_events_total{decision="wanted"} 1.0',
        'dragonhook_events_total{decision="ignored"} 1.0',
        'dragonhook_events_total{decision="set_aside"} 1.0',
        'dragonhook_jobs{kind="publication",state="queued"} 1.0',
    ):
        assert line in text
    assert jobs.counts()["publication", JobState.QUEUED] == 1
