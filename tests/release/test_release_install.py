"""A board from its first release to its removal."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from fakeboard import Board
from signedbundle import CONFIG, Signer, bundle, manifest, members, pack, release_of

from deploy.release.errors import ConfigError, ReleaseError, UnavailableError
from deploy.release.undeploy import undeploy


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(tmp_path, monkeypatch)


def deployed(board: Board, folder: Path, behaviour: str = "well", version: str = "0.1.0") -> str:
    path = bundle(folder, board.signer, behaviour, version)
    assert board.install(path) == 0, board.said
    return release_of(path)


def test_first_installation(board: Board, tmp_path: Path) -> None:
    release = deployed(board, tmp_path)
    assert board.current == board.running == release
    assert board.unit()["UnitFileState"] == "enabled"
    assert board.state["current"] == release
    assert board.state["previous"] is None
    assert board.layout.config.read_bytes() == CONFIG
    assert board.layout.config.stat().st_mode & 0o777 == 0o640
    owners = (board.root / "run/owners").read_text()
    assert f"root:edge-fer {board.layout.etc}/.edge-fer.toml.new" in owners  # before it has its name
    assert f"edge-fer:edge-fer {board.layout.data}" in owners
    assert (board.root / "etc/group").read_text().splitlines()[1:3] == ["video:x:44:edge-fer", "render:x:107:edge-fer"]
    assert board.layout.trusted_keys.read_text().splitlines()[1] == board.signer.line
    assert "/dev/video0 is missing" in board.said  # told, no reason to refuse
    assert board.leftovers() == []


def test_what_systemd_gets(board: Board, tmp_path: Path) -> None:
    deployed(board, tmp_path)
    drop_ins = {path.name: path.read_text() for path in board.layout.drop_ins.iterdir()}
    assert sorted(drop_ins) == ["10-environment.conf", "20-jetson-csi.conf"]  # no password yet, so no credentials
    assert 'Environment="OPENBLAS_CORETYPE=ARMV8"' in drop_ins["10-environment.conf"]
    assert (board.root / "run/tmpfiles").read_text() == f"--create {board.layout.tmpfiles}/edge-fer.conf\n"
    assert (board.root / "run/udevadm").read_text() == "control --reload\n"
    assert (board.layout.udev / "60-edge-fer.rules").is_file()
    assert not board.layout.polkit.exists()  # this board has no polkit
    assert board.unit("edge-fer-power-mode.socket")["UnitFileState"] == "enabled"
    assert board.unit("edge-fer-confirm.service")["UnitFileState"] == "enabled"


def test_without_power_modes_their_helper_waits(board: Board, tmp_path: Path) -> None:
    (board.programs / "nvpmodel").unlink()
    deployed(board, tmp_path)
    assert board.unit("edge-fer-power-mode.socket")["UnitFileState"] == "disabled"
    (board.root / "sys/devices/system/cpu/cpu0/cpufreq").mkdir(parents=True)
    (board.root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq").write_text("1479000\n")
    deployed(board, tmp_path, version="0.2.0")
    assert board.unit("edge-fer-power-mode.socket")["UnitFileState"] == "enabled"


@pytest.mark.parametrize(("version", "expected"), [("245", False), ("247", True)])
def test_credentials_where_systemd_knows_them(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, *, expected: bool
) -> None:
    monkeypatch.setenv("EDGE_FER_FAKE_SYSTEMD_VERSION", version)
    (tmp_path / "password").write_text("secret\n")
    assert board.install(bundle(tmp_path, board.signer), password=tmp_path / "password") == 0
    assert board.layout.password.read_text() == "secret\n"
    assert board.layout.password.stat().st_mode & 0o777 == 0o640
    assert (board.layout.drop_ins / "30-credentials.conf").exists() == expected
    assert "secret" not in board.said + board.layout.log_file.read_text()


def test_polkit_where_there_is_one(board: Board, tmp_path: Path) -> None:
    board.layout.polkit.mkdir(parents=True)
    deployed(board, tmp_path)
    assert [path.name for path in board.layout.polkit.iterdir()] == ["50-edge-fer-power-mode.rules"]


def test_again_changes_nothing(board: Board, tmp_path: Path) -> None:
    path = bundle(tmp_path, board.signer)
    assert board.install(path) == 0
    before, started = board.tree(), board.started
    assert board.install(path) == 0
    assert "nothing to do" in board.said
    assert (board.tree(), board.started) == (before, started)


@pytest.mark.parametrize("harm", ["stopped", "disabled", "unit", "unlinked"])
def test_again_repairs(board: Board, tmp_path: Path, harm: str) -> None:
    path = bundle(tmp_path, board.signer)
    assert board.install(path) == 0
    before = board.tree()
    if harm == "unit":
        (board.layout.units / "edge-fer.service").write_text("[Service]\nExecStart=/bin/false\n")
    elif harm == "unlinked":
        board.layout.current.unlink()
    else:
        board.run("systemctl", {"stopped": "stop", "disabled": "disable"}[harm], "edge-fer.service")
    assert board.install(path) == 0
    assert board.running == release_of(path)
    after = board.tree()
    for tree in (before, after):
        tree.pop(str(board.layout.state_file))
        tree.pop(str(board.layout.config_last(release_of(path))), None)
    assert after == before


def test_upgrade(board: Board, tmp_path: Path) -> None:
    old = deployed(board, tmp_path)
    override = board.layout.drop_ins / "override.conf"
    override.write_text("[Service]\nNice=1\n")
    path = bundle(tmp_path, board.signer, version="0.2.0", drop_ins=[], environment={})
    assert board.install(path) == 0
    new = release_of(path)
    assert board.running == board.current == new
    assert (board.state["current"], board.state["previous"]) == (new, old)
    assert board.unit_file() == "# of 0.2.0 well"
    assert [each.name for each in board.layout.drop_ins.iterdir()] == ["override.conf"]
    assert board.layout.config_last(old).read_bytes() == CONFIG


def test_new_settings_for_the_same_release(board: Board, tmp_path: Path) -> None:
    path = bundle(tmp_path, board.signer)
    assert board.install(path) == 0
    (tmp_path / "new.toml").write_text("# new\n")
    assert board.install(path, config=tmp_path / "new.toml") == 0
    assert board.layout.config.read_text() == "# new\n"
    assert board.layout.config_before.read_bytes() == CONFIG
    assert board.started == [release_of(path)] * 2
    assert board.install(path, config=tmp_path / "new.toml") == 0
    assert "nothing to do" in board.said
    (tmp_path / "poison.toml").write_text("# poison\n")
    assert board.install(path, config=tmp_path / "poison.toml") == 1
    assert board.layout.config.read_text() == "# new\n"
    assert board.running == board.state["current"] == release_of(path)


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        ("crashes", "systemd restarted it 2 times (result exit-code, exit code 1)"),
        ("deaf", "it was not ready within 2 s: activating (start)"),
        ("refuses", "the service failed (it refused its configuration, exit code 78)"),
        ("ends", "it ended by itself (result success)"),
    ],
)
def test_a_release_that_fails_is_rolled_back(board: Board, tmp_path: Path, behaviour: str, why: str) -> None:
    old = deployed(board, tmp_path)
    before = board.tree()
    (tmp_path / "new.toml").write_text("# new\n")
    path = bundle(tmp_path, board.signer, behaviour, "0.2.0", drop_ins=[])
    assert board.install(path, config=tmp_path / "new.toml") == 1
    assert f"{release_of(path)} does not run here: {why}" in board.said
    assert "its last words" in board.said  # of the journal
    assert f"{old} runs again" in board.said
    assert board.running == board.current == old
    assert board.started == [old, release_of(path), old]
    failure = board.state["failed"][-1]
    assert (failure["release"], failure["why"]) == (release_of(path), why)
    after = board.tree()
    for tree in (before, after):
        tree.pop(str(board.layout.state_file))
        tree.pop(str(board.layout.config_before), None)
        tree.pop(str(board.layout.config_last(old)), None)
    assert after == before
    assert board.leftovers() == []


@pytest.mark.parametrize("behaviour", ["crashes", "refuses"])
def test_a_first_release_that_fails_is_removed(board: Board, tmp_path: Path, behaviour: str) -> None:
    assert board.install(bundle(tmp_path, board.signer, behaviour)) == 1
    assert "nothing ran here before" in board.said
    assert board.unit()["ActiveState"] == "inactive"
    assert board.unit()["UnitFileState"] == ""
    assert not board.layout.current.is_symlink()
    assert not board.layout.command_link.is_symlink()
    assert list(board.layout.releases.iterdir()) == []
    assert not [path for path in board.layout.units.rglob("*") if not path.is_dir()]
    assert board.layout.config.exists()
    assert board.leftovers() == []
    deployed(board, tmp_path)


@pytest.mark.parametrize("behaviour", ["alone", "silent"])
def test_without_a_broker_local_health_counts(board: Board, tmp_path: Path, behaviour: str) -> None:
    release = deployed(board, tmp_path, behaviour)
    assert board.running == release
    assert "only local health could be checked" in board.said


def test_one_restart_is_forgiven(board: Board, tmp_path: Path) -> None:
    release = deployed(board, tmp_path, "stumbles")
    assert board.running == release


def test_a_network_that_does_not_run_is_refused(board: Board, tmp_path: Path) -> None:
    old = deployed(board, tmp_path)
    before = board.tree()
    with pytest.raises(ReleaseError, match="inference: the process was ended by SIGILL\n  -> another build") as refused:
        board.install(bundle(tmp_path, board.signer, "no-inference", "0.2.0"))
    assert refused.value.exit_code == 1
    assert board.tree() == before
    assert board.started == [old]


def test_a_wrong_configuration_is_refused(board: Board, tmp_path: Path) -> None:
    old = deployed(board, tmp_path)
    before = board.tree()
    (tmp_path / "new.toml").write_text("wrong\n")
    with pytest.raises(
        ConfigError, match=r"configuration: the new configuration: \[broker\] url: no host\n  -> mqtt://HOST"
    ) as refused:
        board.install(bundle(tmp_path, board.signer, version="0.2.0"), config=tmp_path / "new.toml")
    assert refused.value.exit_code == os.EX_CONFIG
    assert board.tree() == before
    assert board.started == [old]


def test_a_disk_that_is_full(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = deployed(board, tmp_path)
    before = board.tree()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("deploy.release.prepare.install_wheel", full)
    with pytest.raises(OSError, match="No space left"):
        board.install(bundle(tmp_path, board.signer, version="0.2.0"))
    assert board.tree() == before
    assert board.running == old
    assert board.leftovers() == []


def test_a_release_that_systemd_does_not_take(board: Board, tmp_path: Path) -> None:
    old = deployed(board, tmp_path)
    parts = [part for part in members(version="0.2.0") if part.path != "systemd/edge-fer.service"]
    content = manifest(parts, version="0.2.0")
    path = pack(tmp_path / "bundle.tar", content, board.signer.signature(content), parts)
    assert board.install(path) == 1
    assert "systemctl start --no-block edge-fer.service: Failed to start edge-fer.service" in board.said
    assert board.running == board.current == old
    assert board.unit()["UnitFileState"] == "enabled"
    assert board.leftovers() == []


def test_everything_that_is_wrong_is_told_at_once(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_FER_FAKE_GLIBC", "2.26")
    monkeypatch.setenv("EDGE_FER_FAKE_MACHINE", "x86_64")
    monkeypatch.setenv("EDGE_FER_FAKE_SYSTEMD_VERSION", "229")
    before = board.tree()
    with pytest.raises(ReleaseError) as refused:
        board.install(bundle(tmp_path, board.signer, unpacked_bytes=10**15, python="3.9"))
    told = str(refused.value)
    for word in ("x86_64", "glibc is 2.26", "systemd is 229", "Python 3.9 is missing", "MB are free"):
        assert word in told
    assert board.tree() == before


def test_another_board(board: Board, tmp_path: Path) -> None:
    (board.root / "proc/device-tree/model").write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    (board.root / "proc/device-tree/compatible").write_text("raspberrypi,5-model-b\0brcm,bcm2712\0")
    path = bundle(tmp_path, board.signer)
    with pytest.raises(
        ReleaseError, match=r"this is Raspberry Pi 5 Model B Rev 1\.0, the bundle is for NVIDIA Jetson Nano"
    ):
        board.install(path)
    assert board.install(path, board_mismatch_ok=True) == 0


@pytest.mark.parametrize("damage", ["changed", "cut", "added", "renamed", "manifest", "empty"])
def test_a_damaged_bundle_changes_nothing(board: Board, tmp_path: Path, damage: str) -> None:
    old = deployed(board, tmp_path)
    before = board.tree()
    parts = members(version="0.2.0")
    content = manifest(parts, version="0.2.0")
    signature = board.signer.signature(content)
    path = tmp_path / "damaged.tar"
    if damage == "changed":
        parts[-1] = parts[-1]._replace(data=parts[-1].data[:-1] + b"x")
    elif damage == "added":
        parts.append(parts[-1]._replace(path="wheels/evil-1-py3-none-any.whl"))
    elif damage == "renamed":
        parts[0] = parts[0]._replace(path="config/../../../../tmp/edge-fer.toml")
    elif damage == "manifest":
        content = content.replace(b"ARMV8", b"ARMV9")
    pack(path, content, signature, parts)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    with pytest.raises(ReleaseError):
        board.install(path)
    assert board.tree() == before
    assert board.running == old
    assert board.started == [old]


def test_who_signs(board: Board, tmp_path: Path) -> None:
    path = bundle(tmp_path, board.signer)
    with pytest.raises(ReleaseError, match="trusts no key yet"):
        board.install(path, trust=None)
    assert board.install(path) == 0
    other = Signer("colleague@office")
    (tmp_path / "other.pub").write_text(other.line)
    theirs = bundle(tmp_path, other, version="0.2.0")
    before = board.tree()
    with pytest.raises(ReleaseError) as refused:  # that somebody asks for it is not enough
        board.install(theirs, trust=tmp_path / "other.pub")
    assert other.key.fingerprint in str(refused.value)
    assert board.signer.key.fingerprint in str(refused.value)
    assert board.tree() == before
    assert board.install(theirs, trust=tmp_path / "other.pub", trust_more=True) == 0
    assert board.install(bundle(tmp_path, board.signer, version="0.3.0"), trust=None) == 0
    assert board.install(bundle(tmp_path, other, version="0.4.0"), trust=None) == 0


def test_only_so_many_releases_stay(board: Board, tmp_path: Path) -> None:
    made = [deployed(board, tmp_path, version=f"0.{number}.0") for number in range(1, 6)]
    assert sorted(path.name for path in board.layout.releases.iterdir()) == made[-3:]
    board.install(bundle(tmp_path, board.signer, version="0.6.0"), keep=1)
    assert sorted(path.name for path in board.layout.releases.iterdir()) == [made[-1], board.current]


def test_rollback_and_back_again(board: Board, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="no other release"):
        board.rollback()
    old, new = deployed(board, tmp_path), deployed(board, tmp_path, version="0.2.0")
    assert board.rollback() == 0
    assert board.running == board.current == old
    assert board.unit_file() == "# of 0.1.0 well"
    assert (board.state["current"], board.state["previous"]) == (old, new)
    assert board.rollback() == 0
    assert board.running == new
    with pytest.raises(ReleaseError, match=rf"'0.9.0' is not on this board; --to RELEASE takes one of: {old}"):
        board.rollback("0.9.0")
    assert board.rollback(new) == 0
    assert "nothing to do" in board.said


def test_rollback_to_a_release_that_does_not_know_the_configuration(board: Board, tmp_path: Path) -> None:
    old = deployed(board, tmp_path, "well old-schema")
    (tmp_path / "new.toml").write_text("new_key = 1\n")
    path = bundle(tmp_path, board.signer, version="0.2.0")
    assert board.install(path, config=tmp_path / "new.toml") == 0
    before = board.tree()
    with pytest.raises(ConfigError, match="new_key: unknown key\nrollback --its-config"):
        board.rollback()
    assert board.tree() == before
    assert board.running == release_of(path)
    assert board.rollback(its_config=True) == 0
    assert board.running == old
    assert board.layout.config.read_bytes() == CONFIG
    assert board.layout.config_before.read_text() == "new_key = 1\n"
    assert board.rollback(its_config=True) == 0
    assert board.layout.config.read_text() == "new_key = 1\n"


def test_a_rollback_that_fails_comes_back(board: Board, tmp_path: Path) -> None:
    old, new = deployed(board, tmp_path), deployed(board, tmp_path, version="0.2.0")
    behaviour = next(board.layout.release(old).rglob("behaviour.txt"))
    behaviour.write_text("crashes\n")
    assert board.rollback() == 1
    assert board.running == board.current == new
    assert board.layout.release(old).is_dir()  # it ran once, so it stays


def test_a_daemon_keeps_its_own_packages(board: Board, tmp_path: Path) -> None:
    old = deployed(board, tmp_path)
    launcher = board.layout.current / "bin" / "edge-fer"
    told = json.loads(subprocess.run([launcher, "children"], capture_output=True, check=True, text=True).stdout)
    home = str(board.layout.release(old))
    assert told["environ"] == "ARMV8"
    for what in ("python", "helper", "child ", "child -I"):
        assert told[what].startswith(home), what


def test_removal(board: Board, tmp_path: Path) -> None:
    deployed(board, tmp_path)
    deployed(board, tmp_path, version="0.2.0")
    override = board.layout.drop_ins / "override.conf"
    override.write_text("[Service]\nNice=1\n")
    assert undeploy(board.work(), purge=False) == 0
    assert board.unit()["ActiveState"] == "inactive"
    left = [path for path in board.layout.units.rglob("*") if not path.is_dir()]
    assert left == [override]
    assert not board.layout.home.exists()
    assert not board.layout.command_link.is_symlink()
    assert not board.layout.agent_link.is_symlink()
    assert board.layout.config.exists()
    assert board.layout.trusted_keys.exists()
    assert undeploy(board.work(), purge=True) == 0
    assert not board.layout.etc.exists()
    assert not board.layout.data.exists()
    assert "edge-fer" not in (board.root / "etc/passwd").read_text() + (board.root / "etc/group").read_text()
    deployed(board, tmp_path)


def test_a_command_of_somebody_else_is_left_alone(board: Board, tmp_path: Path) -> None:
    board.layout.command_link.parent.mkdir(parents=True)
    board.layout.command_link.write_text("#!/bin/sh\n")
    deployed(board, tmp_path)
    assert "is not ours" in board.said
    undeploy(board.work(), purge=True)
    assert board.layout.command_link.read_text() == "#!/bin/sh\n"


def test_files_that_cannot_be_read(board: Board, tmp_path: Path) -> None:
    path = bundle(tmp_path, board.signer)
    with pytest.raises(UnavailableError, match=r"nowhere\.tar: cannot be read \(No such file"):
        board.install(tmp_path / "nowhere.tar")
    with pytest.raises(UnavailableError, match="the configuration cannot be read"):
        board.install(path, config=tmp_path / "nowhere.toml")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(UnavailableError, match="no password"):
        board.install(path, password=tmp_path / "empty")
    with pytest.raises(ReleaseError, match=r"nowhere\.pub: cannot be read"):
        board.install(path, trust=tmp_path / "nowhere.pub")
