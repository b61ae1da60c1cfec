"""What a kubelet says to containerd, as far as it is needed: pull an image.

Interface: `runtime.v1.ImageService` of Kubernetes' CRI. Its one request here is two nested strings, so it is
encoded by hand.
"""

from __future__ import annotations

from pathlib import Path

import grpc


def pull(socket: Path, reference: str, timeout_s: float = 60) -> None:
    """Has containerd pull an image as a kubelet would.

    Args:
        socket: of containerd.
        reference: the image.
        timeout_s: how long it may take.

    Raises:
        grpc.RpcError: containerd refused or failed.
    """
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        call = channel.unary_unary(
            "/runtime.v1.ImageService/PullImage", request_serializer=bytes, response_deserializer=bytes
        )
        # PullImageRequest.image, and in it ImageSpec.image; both are field 1.
        call(_field_1(_field_1(reference.encode())), timeout=timeout_s)


def _field_1(content: bytes) -> bytes:
    """Field 1 of a message, with a length below 128, which is one byte."""
    assert len(content) < 128
    return bytes([1 << 3 | 2, len(content)]) + content
