"""Who built a bundle: an Ed25519 signature of its manifest, by a key that ssh-keygen can handle too."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge_fer.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_COMMENT = "edge-fer-deploy"


def default_key() -> Path:
    """Where the key is that signs bundles."""
    return Path.home() / ".config" / "edge-fer" / "deploy_key"


def create_key(path: Path | None = None) -> str:
    """Make a key (0600), and its public half beside it as .pub; the fingerprint.

    UsageError where one of both files is there: a key that is replaced could update no board any more.
    """
    path = path or default_key()
    public = _public_path(path)
    for there in (path, public):
        if there.exists() or there.is_symlink():
            raise UsageError(
                f"{there}: is there already and is never overwritten: boards trust it; KEY=FILE makes another one"
            )
    key = _new_key()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(path, _private_bytes(key), 0o600)
        _write_new(public, f"{_public_text(key)} {_COMMENT}\n".encode(), 0o644)
    except OSError as err:
        raise UnavailableError(f"{path}: the key cannot be written ({err.filename}: {err.strerror})") from err
    return fingerprint(_public_text(key))


def load_key(path: Path | None = None) -> Ed25519PrivateKey:
    """The key that signs; UnavailableError says what is wrong with it, and the cure."""
    path = path or default_key()
    try:
        mode = path.stat().st_mode & 0o777
        content = path.read_bytes()
    except FileNotFoundError as err:
        raise UnavailableError(
            f"{path}: no such key to sign the bundle with; `python -m deploy key` makes one, KEY=FILE names another"
        ) from err
    except OSError as err:
        raise UnavailableError(f"{path}: the key cannot be read ({err.strerror})") from err
    if mode & 0o077:
        raise UnavailableError(
            f"{path}: others can read this private key (mode {mode:04o}, must be 0600): chmod 600 {path}"
        )
    return _parse_key(path, content)


def public_line(path: Path | None = None) -> str:
    """The public half of a private key, as a line of /etc/edge-fer/trusted-keys."""
    return f"{_public_text(load_key(path))} {_COMMENT}\n"


def signature_bytes(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """The content of manifest.sig: the public key, and its signature (RFC 8032, pure) of the manifest's bytes."""
    signature = base64.b64encode(key.sign(manifest)).decode()
    return (json.dumps({"key": _public_text(key), "signature": signature}, sort_keys=True, indent=1) + "\n").encode()


def fingerprint(public: str) -> str:
    """Of a public key in OpenSSH's format, as `ssh-keygen -l` prints it."""
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _parse_key(path: Path, content: bytes) -> Ed25519PrivateKey:
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        key = load_ssh_private_key(content, password=None)
    except TypeError as err:  # it wants a password
        raise UnavailableError(
            f"{path}: this key is protected by a passphrase, which nobody types while a bundle is built; "
            f"ssh-keygen -p -f {path} takes it off"
        ) from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise UnavailableError(
            f"{path}: not a private key in OpenSSH's format; `python -m deploy key` makes one"
        ) from err
    if not isinstance(key, Ed25519PrivateKey):
        kind = type(key).__name__.strip("_").removesuffix("PrivateKey")
        raise UnavailableError(
            f"{path}: a key of the kind {kind}, but bundles are signed with Ed25519: `python -m deploy key` makes one"
        )
    return key


def _new_key() -> Ed25519PrivateKey:
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()


def _private_bytes(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _public_text(key: Ed25519PrivateKey) -> str:
    """ssh-ed25519 AAAA..., without a comment."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _public_path(path: Path) -> Path:
    return path.with_name(path.name + ".pub")


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there yet; never readable for more than the mode says, not even for a moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as err:
        raise UnavailableError(
            "the Python package cryptography is missing, which signs bundles: pip install --editable '.[deploy]'"
        ) from err
