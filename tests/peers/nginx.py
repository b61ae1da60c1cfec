"""A real web server: nginx, which serves the files of a directory as they are."""

from __future__ import annotations

from pathlib import Path

from tests.peers.programs import find_program
from tests.peers.server import LOOPBACK, Server, free_port


class Nginx(Server):
    """nginx without access log, with sendfile.

    Args:
        directory: an empty directory for configuration, log and temporary files.
        root: what it serves.
        workers: processes.
    """

    def __init__(self, directory: Path, root: Path, workers: int = 1) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        port = free_port()
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"  {kind}_temp_path {directory}/{kind};\n" for kind in kinds)
        config = directory / "nginx.conf"
        config.write_text(
            f"user root;\nworker_processes {workers};\npid {directory}/nginx.pid;\n"
            "events { worker_connections 1024; }\n"
            f"http {{\n{temporary}"
            "  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_requests 1000000;\n"
            f"  server {{ listen {LOOPBACK}:{port} backlog=1024; root {root}; }}\n}}\n"
        )
        command = [str(find_program("nginx")), "-c", str(config), "-g", "daemon off; error_log stderr warn;"]
        super().__init__(command, port, directory / "nginx.log")
