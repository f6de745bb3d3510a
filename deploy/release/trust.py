"""Who may sign what this board runs."""

import base64
import binascii
import hashlib
import json
import struct
from pathlib import Path
from typing import List, NamedTuple, Sequence

from deploy.release import ed25519
from deploy.release.errors import ReleaseError

_KIND = "ssh-ed25519"


class Key(NamedTuple):
    """A public key of OpenSSH."""

    blob: bytes
    comment: str = ""

    @property
    def raw(self) -> bytes:
        """The key itself."""
        return self.blob[-ed25519.KEY_BYTES :]

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def line(self) -> str:
        """As it stands in a file."""
        return f"{_KIND} {base64.b64encode(self.blob).decode()} {self.comment}".rstrip()

    def __str__(self) -> str:
        return self.fingerprint + (f" ({self.comment})" if self.comment else "")


def parse_key(line: str, where: str) -> Key:
    """The key of one line; ReleaseError where it is none."""
    words = line.split(None, 2)
    if len(words) < 2 or words[0] != _KIND:  # noqa: PLR2004 - kind and key
        raise ReleaseError(f"{where}: no public key of the kind {_KIND}: {_shown(line)}")
    try:
        blob = base64.b64decode(words[1].encode(), validate=True)
    except (binascii.Error, ValueError):
        raise ReleaseError(f"{where}: not base64: {_shown(line)}") from None
    if len(blob) != len(_HEAD) + ed25519.KEY_BYTES or not blob.startswith(_HEAD):
        raise ReleaseError(f"{where}: no whole key of the kind {_KIND}: {_shown(line)}")
    comment = words[2].strip() if len(words) > 2 else ""  # noqa: PLR2004
    return Key(blob, "".join(char for char in comment if char.isprintable()))


def read_keys(path: Path) -> List[Key]:
    """The keys of a file, one a line; empty lines and those with # do not count. ReleaseError where there are none."""
    try:
        lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    except OSError as err:
        raise ReleaseError(f"{path}: cannot be read ({err.strerror}); it holds the public keys that may sign") from err
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    keys = [parse_key(line, f"{path}:{number}") for number, line in numbered if line and not line.startswith("#")]
    if not keys:
        raise ReleaseError(f"{path}: no key in it; it holds the public keys that may sign, a line {_KIND} AAAA... each")
    return keys


def check_signature(manifest: bytes, signature: bytes, trusted: Sequence[Key], keys_file: Path) -> Key:
    """The trusted key that signed the manifest; ReleaseError, with the cure, where none did."""
    try:
        told = json.loads(signature.decode())
        signer = parse_key(str(told["key"]), "manifest.sig")
        proof = base64.b64decode(str(told["signature"]).encode(), validate=True)
    except (ValueError, KeyError, TypeError) as err:
        raise ReleaseError("manifest.sig: no key and signature in it: the bundle is damaged; build it again") from err
    if signer.blob not in [key.blob for key in trusted]:
        known = "\n".join(f"trusted is  {key}" for key in trusted)
        raise ReleaseError(
            f"the bundle is signed by a key that this board does not trust:\nsigned by   {signer}\n{known}\n"
            f"sign it with a trusted key; or, if it is you who signed, add the new key's line to {keys_file} on the "
            "board (install --trust FILE --trust-more does it)"
        )
    if not ed25519.verify(signer.raw, manifest, proof):
        raise ReleaseError(
            f"the signature of {signer} does not fit the manifest: the bundle was changed after it was signed, or "
            "damaged on its way; send it again"
        )
    return signer


def to_bytes(keys: Sequence[Key]) -> bytes:
    """A file of keys."""
    head = "# Who may sign what runs here, a key a line (edge-fer-release install).\n"
    return (head + "".join(f"{key.line}\n" for key in keys)).encode()


def _shown(line: str) -> str:
    return ascii(line[:60])


def _head() -> bytes:
    return struct.pack(">I", len(_KIND)) + _KIND.encode() + struct.pack(">I", ed25519.KEY_BYTES)


_HEAD = _head()
