"""deploy/mosquitto/setup.sh: what it makes, and what it leaves alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from securedbroker import DEPLOY, open_folder, require_programs, setup


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


def test_the_script_changes_nothing_of_what_is_there(folder: Path) -> None:
    require_programs()
    keys = folder / "keys"
    setup("--host", "broker.lan", "--node", "node-a", folder=keys)
    before = {path: path.read_bytes() for path in keys.rglob("*") if path.is_file()}
    setup("--host", "broker.lan", "--node", "node-a", folder=keys)
    assert {path: path.read_bytes() for path in keys.rglob("*") if path.is_file()} == before
    setup("--node", "node-b", folder=keys)
    after = {path: path.read_bytes() for path in keys.rglob("*") if path.is_file()}
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed == {"passwords", "node-b"}
    assert after[keys / "passwords"].startswith(before[keys / "passwords"])


def test_renewing_keeps_the_authority_and_force_does_not(folder: Path) -> None:
    require_programs()
    keys = folder / "keys"
    setup("--host", "broker.lan", "--host", "10.0.0.2", "--host", "fd00::1", folder=keys)
    authority, certificate = (keys / "ca.crt").read_bytes(), (keys / "server.crt").read_bytes()
    setup("--renew", folder=keys)
    assert (keys / "ca.crt").read_bytes() == authority
    assert (keys / "server.crt").read_bytes() != certificate
    command = ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", str(keys / "server.crt")]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(name in names for name in ("DNS:broker.lan", "IP Address:10.0.0.2", "IP Address:FD00:0:0:0:0:0:0:1"))
    setup("--renew", "--host", "new.lan", folder=keys)
    assert (keys / "server.names").read_text() == "DNS:new.lan\n"
    password = (keys / "passwords.d" / "dashboard").read_text()
    setup("--force", folder=keys)
    assert (keys / "ca.crt").read_bytes() != authority
    assert (keys / "passwords.d" / "dashboard").read_text() != password
    assert (keys / "passwords").read_text().count("dashboard:") == 1


def test_users_are_kept_where_their_file_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_programs()
    keys = folder / "keys"
    setup("--host", "broker.lan", "--node", "node-a", folder=keys)
    before = (keys / "passwords").read_bytes()
    programs = folder / "programs"
    programs.mkdir()
    grep = programs / "grep"
    grep.write_text(f'#!/bin/sh\n[ "$1" = -v ] && exit 2\nexec {shutil.which("grep")} "$@"\n')
    grep.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    refused = setup("--node", "node-b", folder=keys, code=1)
    assert f"{keys}/passwords cannot be read" in refused.stderr
    assert (keys / "passwords").read_bytes() == before


def test_secrets_are_for_those_who_need_them(folder: Path) -> None:
    require_programs()
    keys = folder / "keys"
    setup("--host", "broker.lan", "--node", "node-a", folder=keys)
    modes = {path.name: path.stat().st_mode & 0o777 for path in keys.rglob("*") if path.is_file()}
    users = ("dashboard", "homeassistant", "watcher", "node-a")
    assert modes == {
        **dict.fromkeys(("ca.key", *users), 0o600),
        **dict.fromkeys(("server.key", "passwords", "acl"), 0o640),
        **dict.fromkeys(("ca.crt", "server.crt", "server.names"), 0o644),
    }
    secrets = [(keys / "passwords.d" / user).read_text().strip() for user in users]
    assert len(set(secrets)) == len(users)
    assert all(len(secret) == 32 for secret in secrets)
    assert not any(secret in (keys / "passwords").read_text() for secret in secrets)


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ((), 2, "--host is missing"),
        (("--host", "-x"), 2, "neither a host name nor an IP address"),
        (("--host", "a,DNS:evil"), 2, "neither a host name nor an IP address"),
        (("--host", "b.lan", "--node", "Node"), 2, "must be of a-z"),
        (("--host", "b.lan", "--node", "a/b"), 2, "must be of a-z"),
        (("--host", "b.lan", "--node", "dashboard"), 2, "no board"),
        (("--host",), 2, "needs a value"),
        (("--what",), 2, "unknown option '--what'"),
        (("--host", "b.lan", "--group", "no-such-group"), 69, "no-such-group"),
    ],
)
def test_the_script_says_what_is_wrong(folder: Path, options: tuple[str, ...], code: int, told: str) -> None:
    require_programs()
    done = setup(*options, folder=folder / "keys", code=code)
    assert told in done.stderr
    assert not (folder / "keys" / "ca.crt").exists()


def test_a_certificate_for_other_names_is_not_taken_for_done(folder: Path) -> None:
    require_programs()
    setup("--host", "broker.lan", folder=folder / "keys")
    done = setup("--host", "other.lan", folder=folder / "keys", code=2)
    assert "not for 'other.lan' but for DNS:broker.lan: --renew" in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed: setup.sh NOT checked")
def test_the_script_has_no_flaw_that_shellcheck_knows() -> None:
    assert os.access(DEPLOY / "setup.sh", os.X_OK)
    subprocess.run(["shellcheck", str(DEPLOY / "setup.sh")], check=True)
