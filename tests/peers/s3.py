"""A real S3 server: versitygw on a directory."""

from __future__ import annotations

from pathlib import Path

from tests.peers.programs import find_program
from tests.peers.server import LOOPBACK, Server, free_port


class S3Server(Server):
    """versitygw with one account.

    Args:
        directory: an empty directory for objects and log.
        port: loopback port; a free one if none is given.
    """

    access_key = "test-access"
    secret_key = "test-secret-key"
    region = "us-east-1"

    def __init__(self, directory: Path, port: int | None = None) -> None:
        port = port or free_port()
        self.objects = directory / "objects"
        metadata = directory / "metadata"
        for path in (self.objects, metadata):
            path.mkdir(parents=True, exist_ok=True)
        command = [
            str(find_program("versitygw")), "--port", f"{LOOPBACK}:{port}", "--region", self.region,
            # Metadata in files of its own: not every file system of a test machine has user xattrs.
            "posix", "--sidecar", str(metadata), str(self.objects),
        ]  # fmt: skip
        environ = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        super().__init__(command, port, directory / "versitygw.log", environ=environ)

    def create_bucket(self, name: str) -> None:
        """Makes a bucket: for this server, a directory below its root."""
        (self.objects / name).mkdir()
