"""A real web server: nginx, on the files of a directory or before another server."""

from __future__ import annotations

from pathlib import Path

from tests.peers.programs import find_program
from tests.peers.server import LOOPBACK, Server, free_port


class Nginx(Server):
    """nginx without access log, with sendfile.

    Args:
        directory: an empty directory for configuration, log and temporary files.
        serves: what each request is answered with: the files below a directory, or what the server of a URL
            answers to the same path and `Host`.
        workers: processes.
    """

    def __init__(self, directory: Path, serves: Path | str, workers: int = 1) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        port = free_port()
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"  {kind}_temp_path {directory}/{kind};\n" for kind in kinds)
        location = f"root {serves};"
        if isinstance(serves, str):
            location = f"proxy_pass {serves}; proxy_set_header Host $http_host; proxy_buffering off;"
        config = directory / "nginx.conf"
        config.write_text(
            f"user root;\nworker_processes {workers};\npid {directory}/nginx.pid;\n"
            "events { worker_connections 1024; }\n"
            f"http {{\n{temporary}"
            "  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_requests 1000000;\n"
            f"  server {{ listen {LOOPBACK}:{port} backlog=1024; location / {{ {location} }} }}\n}}\n"
        )
        command = [str(find_program("nginx")), "-c", str(config), "-g", "daemon off; error_log stderr warn;"]
        super().__init__(command, port, directory / "nginx.log")
