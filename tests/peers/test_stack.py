"""What the stack writes as settings file."""

from __future__ import annotations

import tomllib

from tests.peers.stack import to_toml


def test_tables_in_tables_and_arrays_of_tables_survive() -> None:
    settings = {
        "seeding": {
            "origin_url": "http://127.0.0.1:1",
            "parallel": 2,
            "clusters": [
                {"name": 'a "b"', "seed_peers": [{"grpc": "h:1", "proxy": "http://h:2"}, {"grpc": "h:3"}]},
                {"name": "c", "scheduler_cluster_ids": [1, 2]},
            ],
        },
        "gateway": {"closed_network": True, "sigv4": {"access_key": "k"}},
    }
    assert tomllib.loads(to_toml(settings)) == settings
