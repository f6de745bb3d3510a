"""Ed25519: the vectors of RFC 8032, what must be refused, and the same answers as a library that many use."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signedbundle import Signer

from deploy.release import ed25519
from deploy.release.ed25519 import verify

# RFC 8032, section 7.1: public key, message, signature.
VECTORS = {
    "TEST 1": (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "TEST 2": (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "TEST 3": (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    "TEST SHA(abc)": (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
}  # fmt: skip
KEY, MESSAGE, SIGNATURE = (bytes.fromhex(word) for word in VECTORS["TEST 3"])
P, ORDER = ed25519._P, ed25519._ORDER


@pytest.mark.parametrize("name", list(VECTORS))
def test_vectors_of_the_rfc(name: str) -> None:
    key, message, signature = (bytes.fromhex(word) for word in VECTORS[name])
    assert verify(key, message, signature)
    assert not verify(key, message + b"x", signature)


def test_any_flipped_bit_is_noticed() -> None:
    for number in range(0, 512, 3):
        changed = bytearray(SIGNATURE)
        changed[number // 8] ^= 1 << number % 8
        assert not verify(KEY, MESSAGE, bytes(changed)), number


def test_a_signature_has_one_form_only() -> None:
    s = int.from_bytes(SIGNATURE[32:], "little")
    for multiple in (1, 2, 7):
        other = SIGNATURE[:32] + (s + multiple * ORDER).to_bytes(32, "little")
        assert not verify(KEY, MESSAGE, other), multiple


@pytest.mark.parametrize("y", [0, 1, P - 1])
def test_a_point_has_one_form_only(y: int) -> None:
    assert ed25519._decompressed(y.to_bytes(32, "little")) is not None
    if y + P < 2**255:
        assert ed25519._decompressed((y + P).to_bytes(32, "little")) is None


def test_x_of_zero_has_no_sign() -> None:
    assert ed25519._decompressed((1 | 1 << 255).to_bytes(32, "little")) is None
    assert ed25519._decompressed((P - 1 | 1 << 255).to_bytes(32, "little")) is None


def test_keys_that_would_fit_anything() -> None:
    small = [1, 0, P - 1, 0 | 1 << 255]  # y of points whose order divides 4; of order 8 there are four more
    eighth = _points_of_order_eight()
    for encoded in [y.to_bytes(32, "little") for y in small] + eighth:
        for commitment in [y.to_bytes(32, "little") for y in small] + eighth:
            assert not verify(encoded, b"text", commitment + bytes(32))


def _points_of_order_eight() -> list[bytes]:
    """Multiples, by the order of the base, of points that are not in its group."""
    found = []
    for y in range(2, 200):
        point = ed25519._decompressed(y.to_bytes(32, "little"))
        if point is not None:
            found.append(ed25519._compressed(ed25519._multiple(ORDER, point)))
    orders = set(found)
    assert len(orders) == 8
    return sorted(orders)


@pytest.mark.parametrize(
    ("key", "signature"), [(KEY[:-1], SIGNATURE), (KEY, SIGNATURE[:-1]), (KEY, SIGNATURE + b"x"), (b"", b"")]
)
def test_lengths(key: bytes, signature: bytes) -> None:
    assert not verify(key, MESSAGE, signature)


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511), st.booleans())
def test_the_same_answers_as_cryptography(seed: bytes, message: bytes, bit: int, change: bool) -> None:  # noqa: FBT001
    crypto = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from cryptography.exceptions import InvalidSignature

    private = crypto.Ed25519PrivateKey.from_private_bytes(seed)
    key, signature = private.public_key().public_bytes_raw(), bytearray(private.sign(message))
    if change:
        signature[bit // 8] ^= 1 << bit % 8
    try:
        private.public_key().verify(bytes(signature), message)
        expected = True
    except InvalidSignature:
        expected = False
    assert verify(key, message, bytes(signature)) == expected


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64), st.binary(max_size=20))
def test_garbage(key: bytes, signature: bytes, message: bytes) -> None:
    assert not verify(key, message, signature)


def test_the_signer_of_these_tests_follows_the_rfc() -> None:
    crypto = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    signer = Signer("anybody")
    crypto.Ed25519PublicKey.from_public_bytes(signer.public).verify(signer.sign(b"text"), b"text")  # or raises
