import pytest

from converter.oci import Digest, InvalidDigestError

HEX = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_digest_of_known_content() -> None:
    assert str(Digest.of(b"{}")) == f"sha256:{HEX}"
    assert Digest.parse(f"sha256:{HEX}") == Digest(HEX)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        HEX,
        f"sha512:{HEX}",
        f"sha256:{HEX.upper()}",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX}\n",
    ],
)
def test_malformed_digests_are_refused(text: str) -> None:
    with pytest.raises(InvalidDigestError):
        Digest.parse(text)
