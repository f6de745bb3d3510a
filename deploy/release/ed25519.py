"""Verification of Ed25519 signatures (RFC 8032, section 5.1.7), as the boards' Python has none.

Nothing here is secret, so nothing has to take the same time for all values.
"""

import hashlib
from typing import Optional, Tuple

KEY_BYTES, SIGNATURE_BYTES = 32, 64

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_SIGN = 1 << 255

_Point = Tuple[int, int, int, int]
"""Extended homogeneous coordinates: x = X/Z, y = Y/Z, X*Y = Z*T."""


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is that of the key over the message. Of each value only its one proper form is accepted."""
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    key = _decompressed(public_key)
    commitment, s = signature[:KEY_BYTES], int.from_bytes(signature[KEY_BYTES:], "little")
    if key is None or s >= _ORDER or _is_small(key):
        return False
    digest = hashlib.sha512(commitment + public_key + message).digest()
    challenge = int.from_bytes(digest, "little") % _ORDER
    minus_key = (_P - key[0], key[1], key[2], _P - key[3])
    # Comparing encodings, not points, refuses an R in any but its proper form.
    return _compressed(_sum(_multiple(s, _BASE), _multiple(challenge, minus_key))) == commitment


def _is_small(point: _Point) -> bool:
    """Whether it is one of the eight points with which a signature would fit any message."""
    x, y, z, _ = _multiple(8, point)
    return x % _P == 0 and (y - z) % _P == 0


def _sum(p: _Point, q: _Point) -> _Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _multiple(factor: int, point: _Point) -> _Point:
    total = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = _sum(total, point)
        point = _sum(point, point)
        factor >>= 1
    return total


def _recovered_x(y: int, odd: int) -> Optional[int]:
    """The x of the point with this y; None where there is none."""
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    if square == 0:
        return None if odd else 0
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if (x * x - square) % _P:
        return None
    return x if x & 1 == odd else _P - x


def _decompressed(encoded: bytes) -> Optional[_Point]:
    number = int.from_bytes(encoded, "little")
    y, odd = number & (_SIGN - 1), number >> 255
    x = _recovered_x(y, odd)
    return None if x is None else (x, y, 1, x * y % _P)


def _compressed(point: _Point) -> bytes:
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(KEY_BYTES, "little")


def _base() -> _Point:
    point = _decompressed((4 * pow(5, _P - 2, _P) % _P).to_bytes(KEY_BYTES, "little"))
    assert point is not None  # noqa: S101 - a constant
    return point


_BASE = _base()
