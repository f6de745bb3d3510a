"""Keys of OpenSSH, their fingerprints, and whom a board believes."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from signedbundle import Signer

from deploy.release.errors import ReleaseError
from deploy.release.trust import check_signature, parse_key, read_keys, to_bytes

ME, OTHER = Signer("me@home"), Signer("other")


def test_as_ssh_keygen_shows_it(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen (apt-get install openssh-client): fingerprints NOT compared")
    made = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@home", "-f", made], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", f"{made}.pub"], capture_output=True, text=True, check=True).stdout
    key = read_keys(tmp_path / "key.pub")[0]
    assert shown.split()[1] == key.fingerprint
    assert str(key) == f"{key.fingerprint} (me@home)"
    assert key.line == (tmp_path / "key.pub").read_text().strip()


def test_a_file_of_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# mine\n\n{ME.line}\n  {OTHER.line}  \n")
    assert [key.raw for key in read_keys(file)] == [ME.public, OTHER.public]
    file.write_bytes(to_bytes(read_keys(file)))
    assert [key.comment for key in read_keys(file)] == ["me@home", "other"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no key in it"),
        ("# nothing\n", "no key in it"),
        ("ssh-rsa AAAA me", "keys:1: no public key of the kind ssh-ed25519"),
        ("\nssh-ed25519", "keys:2: no public key"),
        ("ssh-ed25519 !!!", "keys:1: not base64"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==", "keys:1: no whole key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "keys:1: no public key"),
    ],
)
def test_a_file_that_holds_none(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ReleaseError, match=told):
        read_keys(tmp_path / "keys")


def test_comments_cannot_write_on_the_terminal() -> None:
    assert parse_key(f"{ME.line}\x1b[2J", "test").comment == "me@home[2J"


def test_who_is_believed() -> None:
    manifest = b"{}"
    file = Path("/etc/edge-fer/trusted-keys")
    assert check_signature(manifest, ME.signature(manifest), [OTHER.key, ME.key], file).raw == ME.public
    with pytest.raises(ReleaseError, match="does not fit the manifest"):
        check_signature(b"{ }", ME.signature(manifest), [ME.key], file)
    with pytest.raises(ReleaseError) as refused:
        check_signature(manifest, ME.signature(manifest), [OTHER.key], file)
    for word in (ME.key.fingerprint, OTHER.key.fingerprint, str(file), "--trust-more"):
        assert word in str(refused.value)


def test_a_signature_of_another_key_under_a_trusted_name() -> None:
    told = json.loads(OTHER.signature(b"{}"))
    with pytest.raises(ReleaseError, match="does not fit"):
        check_signature(b"{}", json.dumps({**told, "key": ME.line}).encode(), [ME.key], Path("keys"))


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        json.dumps({"key": ME.line, "signature": "!"}).encode(),
        b'{"key": 1, "signature": 2}',
    ],
)
def test_no_signature(signature: bytes) -> None:
    with pytest.raises(ReleaseError, match=r"manifest\.sig"):
        check_signature(b"{}", signature, [ME.key], Path("keys"))


def test_a_short_signature() -> None:
    told = {"key": ME.line, "signature": base64.b64encode(bytes(10)).decode()}
    with pytest.raises(ReleaseError, match="does not fit"):
        check_signature(b"{}", json.dumps(told).encode(), [ME.key], Path("keys"))
