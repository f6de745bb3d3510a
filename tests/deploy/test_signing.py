"""Keys that ssh-keygen can read, and signatures that others can check."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from deploy.release import trust
from deploy.release.errors import ReleaseError
from deploy.signing import create_key, default_key, fingerprint, load_key, public_line, signature_bytes
from edge_fer.errors import UnavailableError, UsageError

MANIFEST = b'{"name": "edge-fer"}\n'


def ssh_keygen(*arguments: str | Path) -> str:
    command = ["ssh-keygen", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "deploy_key"
    create_key(path)
    return path


def public_of(signature: bytes) -> Ed25519PublicKey:
    public = load_ssh_public_key(json.loads(signature)["key"].encode())
    assert isinstance(public, Ed25519PublicKey)
    return public


def test_a_new_key_is_for_its_owner_only(key: Path) -> None:
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    before = os.umask(0)
    try:
        create_key(key.with_name("other"))
    finally:
        os.umask(before)
    assert key.with_name("other").stat().st_mode & 0o777 == 0o600


def test_ssh_keygen_reads_both_halves(key: Path) -> None:
    told = ssh_keygen("-l", "-f", key.with_name("deploy_key.pub"))
    assert told.split()[:2] == ["256", fingerprint(public_line(key))]
    assert told.rstrip().endswith("(ED25519)")
    assert ssh_keygen("-y", "-f", key).split()[:2] == public_line(key).split()[:2]
    assert key.with_name("deploy_key.pub").read_text() == public_line(key)


def test_a_key_of_ssh_keygen_signs_too(tmp_path: Path) -> None:
    ssh_keygen("-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "own")
    signature = signature_bytes(MANIFEST, load_key(tmp_path / "own"))
    public_of(signature).verify(base64.b64decode(json.loads(signature)["signature"]), MANIFEST)


def test_the_signature_holds_for_these_bytes_only(key: Path) -> None:
    signature = signature_bytes(MANIFEST, load_key(key))
    assert signature == signature_bytes(MANIFEST, load_key(key)), "Ed25519 draws no lots"
    told = json.loads(signature)
    assert sorted(told) == ["key", "signature"]
    proof = base64.b64decode(told["signature"], validate=True)
    assert len(proof) == 64
    public_of(signature).verify(proof, MANIFEST)
    with pytest.raises(InvalidSignature):
        public_of(signature).verify(proof, MANIFEST.replace(b"edge", b"egde"))


def test_openssl_agrees(key: Path, tmp_path: Path) -> None:
    signature = signature_bytes(MANIFEST, load_key(key))
    pem = public_of(signature).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    files = {"public.pem": pem, "proof": base64.b64decode(json.loads(signature)["signature"]), "manifest": MANIFEST}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "public.pem", "-sigfile", "proof"]

    def verify() -> int:
        return subprocess.run([*command, "-in", "manifest"], cwd=tmp_path, capture_output=True, check=False).returncode

    assert verify() == 0
    (tmp_path / "manifest").write_bytes(MANIFEST + b" ")
    assert verify() != 0


def test_the_board_trusts_the_line_that_is_sent_to_it(key: Path, tmp_path: Path) -> None:
    trusted = tmp_path / "trusted-keys"
    trusted.write_text(public_line(key))
    keys = trust.read_keys(trusted)
    signature = signature_bytes(MANIFEST, load_key(key))
    assert trust.check_signature(MANIFEST, signature, keys, trusted).fingerprint == fingerprint(public_line(key))
    with pytest.raises(ReleaseError, match="does not fit the manifest"):
        trust.check_signature(MANIFEST + b" ", signature, keys, trusted)


@pytest.mark.parametrize("there", ["deploy_key", "deploy_key.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("boards trust this one\n")
    with pytest.raises(UsageError, match=f"{there}: is there already and is never overwritten"):
        create_key(tmp_path / "deploy_key")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "boards trust this one\n"


def test_a_key_that_others_can_read_is_refused(key: Path) -> None:
    key.chmod(0o640)
    with pytest.raises(UnavailableError, match=r"mode 0640, must be 0600\): chmod 600"):
        load_key(key)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_key() == tmp_path / ".config/edge-fer/deploy_key"
    with pytest.raises(UnavailableError, match=r"deploy_key: no such key .*`python -m deploy key` makes one"):
        load_key()
    assert create_key() == fingerprint(public_line())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-t", "ed25519", "-N", "secret"], r"protected by a passphrase.*ssh-keygen -p -f .*/other takes it off"),
        (["-t", "rsa", "-b", "2048", "-N", ""], "a key of the kind RSA, but bundles are signed with Ed25519"),
        (["-t", "ecdsa", "-N", ""], "a key of the kind .*, but bundles are signed with Ed25519"),
        (["-t", "ecdsa", "-m", "PEM", "-N", ""], "not a private key in OpenSSH's format"),
    ],
)
def test_keys_that_cannot_sign(tmp_path: Path, options: list[str], told: str) -> None:
    ssh_keygen("-q", *options, "-f", tmp_path / "other")
    with pytest.raises(UnavailableError, match=told):
        load_key(tmp_path / "other")


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END"])
def test_a_file_that_is_no_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UnavailableError, match="other: not a private key in OpenSSH's format"):
        load_key(path)


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"the key cannot be read \(Is a directory\)"):
        load_key(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match=r"file/key: the key cannot be written \(.*/file: File exists\)"):
        create_key(tmp_path / "file" / "key")


def test_a_public_half_is_no_private_key(key: Path) -> None:
    public = key.with_name("deploy_key.pub")
    public.chmod(0o600)
    with pytest.raises(UnavailableError, match="not a private key"):
        load_key(public)
