"""The units that a board gets, as systemd itself reads them; no systemd runs for it."""

from __future__ import annotations

import functools
import json
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.release.layout import Layout
from edge_fer.commands.run import run
from edge_fer.daemon import READER_STOP_S
from edge_fer.errors import ConfigError, UsageError
from edge_fer.notify import FEED_S
from edge_fer.service import BROKER_STOP_S

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
DROP_INS = UNITS / "drop-ins"
BOARD = Layout()
NEEDED_VERSION = 250  # security --offline
UNKNOWN = re.compile(r"Unknown (?:key|key name|lvalue) '(\w+)'")
STEPS_SINCE = 254

LARGEST_EXPOSURE = {
    "": 1.5,
    "pi-camera": 1.5,
    "credentials": 1.5,
    "network-allowlist": 1.5,
    # It lists what must not be called, and lets the kernel be asked about its clock.
    "old-systemd": 1.8,
    # NVIDIA's devices have no names that can be listed, their daemon's socket is in /tmp, their libraries write code.
    "jetson-csi": 1.9,
}

GROUPS_OF_237 = {
    *("@aio", "@basic-io", "@chown", "@clock", "@cpu-emulation", "@debug", "@default", "@file-system", "@io-event"),
    *("@ipc", "@keyring", "@memlock", "@module", "@mount", "@network-io", "@obsolete", "@privileged", "@process"),
    *("@raw-io", "@reboot", "@resources", "@setuid", "@signal", "@swap", "@sync", "@timer"),
}


@functools.lru_cache(maxsize=1)
def version() -> int:
    """Of systemd-analyze; 0 where it is missing."""
    try:
        told = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    return int(told.split()[1].split(".")[0].split("~")[0])


@pytest.fixture(autouse=True)
def _needs_systemd(request: pytest.FixtureRequest) -> None:
    if "analyze" in request.fixturenames and version() < NEEDED_VERSION:
        pytest.skip(
            f"systemd-analyze is missing, or older than {NEEDED_VERSION} ({version()}): apt-get install systemd"
        )


class Analyze:
    """systemd-analyze on a copy of the units, whose programs exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for unit in UNITS.iterdir():
            if unit.suffix in {".service", ".socket"}:
                text = re.sub(r"^(ExecStart)=/opt/edge-fer/\S+", r"\1=/bin/true", unit.read_text(), flags=re.MULTILINE)
                (folder / unit.name).write_text(text)

    def add(self, *drop_ins: str) -> Analyze:
        """With these drop-ins of the daemon's unit."""
        place = self._folder / "edge-fer.service.d"
        place.mkdir(exist_ok=True)
        for name in drop_ins:
            shutil.copy(next(DROP_INS.glob(f"{name}.conf*")), place / f"20-{name}.conf")
        return self

    def lay_over(self, *lines: str) -> Analyze:
        """With these lines in the last drop-in."""
        self.add()
        (self._folder / "edge-fer.service.d/99-test.conf").write_text("\n".join(["[Service]", *lines, ""]))
        return self

    def complaints(self, *names: str) -> list[str]:
        """What `verify` has to say of our files."""
        files = [str(self._folder / name) for name in names]
        done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
        ours = [line for line in done.stderr.splitlines() if str(self._folder) in line or "edge-fer" in line]
        return ours or ([done.stderr] if done.returncode else [])

    def security(self, *options: str) -> subprocess.CompletedProcess[str]:
        unit = str(self._folder / "edge-fer.service")
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", *options, unit]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def exposure(self) -> float:
        (figure,) = re.findall(r"exposure level .*: ([\d.]+) ", self.security().stdout)
        return float(figure)

    def findings(self) -> dict[str, Any]:
        """Directive -> whether it is as it should be."""
        return {one["name"]: one["set"] for one in json.loads(self.security("--json=short").stdout)}


@pytest.fixture
def analyze(tmp_path: Path) -> Analyze:
    return Analyze(tmp_path)


def values(file: Path, key: str) -> list[str]:
    """All that a unit says of a key."""
    return re.findall(rf"^{key}=(.*)$", file.read_text(), re.MULTILINE)


def the(key: str) -> str:
    """What the daemon's unit says of it, once."""
    (value,) = values(UNITS / "edge-fer.service", key)
    return value


def test_systemd_finds_nothing_wrong_with_any_unit(analyze: Analyze) -> None:
    names = sorted(unit.name for unit in UNITS.iterdir() if unit.suffix in {".service", ".socket"})
    assert len(names) == 4
    assert analyze.complaints(*names) == []


@pytest.mark.parametrize("name", ["credentials", "jetson-csi", "network-allowlist", "old-systemd", "pi-camera"])
def test_systemd_finds_nothing_wrong_with_a_drop_in(analyze: Analyze, name: str) -> None:
    assert analyze.add(name).complaints("edge-fer.service") == []


def test_steps_of_restarts_are_known_since_254_and_a_warning_before(analyze: Analyze) -> None:
    found = UNKNOWN.findall("\n".join(analyze.add("restart-steps").complaints("edge-fer.service")))
    assert found == ([] if version() >= STEPS_SINCE else ["RestartSteps", "RestartMaxDelaySec"])


def test_a_directive_that_does_not_exist_would_be_found(analyze: Analyze) -> None:
    complaints = analyze.lay_over("ProtectEverything=yes").complaints("edge-fer.service")
    assert UNKNOWN.findall("\n".join(complaints)) == ["ProtectEverything"]


def test_a_drop_in_is_tried_here_each() -> None:
    tried = {*LARGEST_EXPOSURE, "restart-steps"} - {""}
    assert {file.name.removesuffix(".example").removesuffix(".conf") for file in DROP_INS.iterdir()} == tried


@pytest.mark.parametrize("name", LARGEST_EXPOSURE)
def test_little_is_exposed(analyze: Analyze, name: str) -> None:
    assert analyze.add(*filter(None, [name])).exposure() <= LARGEST_EXPOSURE[name]


def test_systemd_itself_calls_it_below_the_threshold(analyze: Analyze) -> None:
    assert analyze.security("--threshold=15").returncode == 0
    assert analyze.lay_over("NoNewPrivileges=no", "PrivateTmp=no").security("--threshold=15").returncode == 1


def test_drop_ins_lie_over_the_unit(analyze: Analyze) -> None:
    base = analyze.findings()
    assert (base["PrivateTmp="], base["MemoryDenyWriteExecute="], base["ProtectClock="]) == (True, True, True)
    assert base["RestrictAddressFamilies=~AF_NETLINK"] is True
    jetson = analyze.add("jetson-csi").findings()
    changed = {name for name in base if base[name] != jetson[name]}
    # "auto": no list is left that another entry could close.
    assert changed == {"PrivateTmp=", "MemoryDenyWriteExecute=", "ProtectClock="} | {
        name for name in changed if name.startswith("DeviceAllow")
    }
    assert analyze.add("pi-camera").findings()["RestrictAddressFamilies=~AF_NETLINK"] is False


def test_the_filter_for_old_systemd_lists_what_must_not_be_called(analyze: Analyze) -> None:
    assert {"@system-service"} <= set(the_words("SystemCallFilter", UNITS / "edge-fer.service"))
    assert "@system-service" not in GROUPS_OF_237
    words = the_words("SystemCallFilter", DROP_INS / "old-systemd.conf")
    assert {word for word in words if word.startswith("@")} <= GROUPS_OF_237
    lists = values(DROP_INS / "old-systemd.conf", "SystemCallFilter")
    assert lists[0] == ""  # nothing of the unit's is left
    assert all(line.startswith("~") for line in lists[1:])
    found = {one["name"]: one for one in json.loads(analyze.add("old-systemd").security("--json=short").stdout)}
    for group in ("mount", "module", "reboot", "raw-io"):
        assert "deny list" in found[f"SystemCallFilter=~@{group}"]["description"]
        assert found[f"SystemCallFilter=~@{group}"]["set"] is True


def test_the_command_of_the_unit_is_one_that_there_is() -> None:
    program, command, *words = shlex.split(the("ExecStart"))
    assert Path(program) == BOARD.current / "bin/edge-fer"
    assert command == "run"
    options = run.make_context("run", words).params
    assert (options["config_file"], options["wait_for_cameras"]) == (BOARD.config, True)


def test_a_wrong_configuration_is_not_tried_again_and_everything_else_for_ever() -> None:
    never = {int(code) for code in the("RestartPreventExitStatus").split()}
    assert never == {ConfigError.exit_code, UsageError.exit_code}
    assert (the("Restart"), the("StartLimitIntervalSec")) == ("on-failure", "0")
    # Its exit code would not count: systemd would start it again for ever.
    assert values(UNITS / "edge-fer.service", "ExecStartPre") == []


def test_the_times_of_the_unit_fit_those_of_the_daemon() -> None:
    assert (the("Type"), the("NotifyAccess"), the("KillMode")) == ("notify", "main", "mixed")
    assert float(the("WatchdogSec")) >= 10 * FEED_S
    assert float(the("TimeoutStopSec")) > 3 * (BROKER_STOP_S + READER_STOP_S)


def test_no_group_that_a_system_may_lack_keeps_it_from_starting() -> None:
    for file in (UNITS / "edge-fer.service", *DROP_INS.iterdir()):
        assert values(file, "SupplementaryGroups") == [], file


def test_the_other_units_are_about_the_same_places() -> None:
    confirm = UNITS / "edge-fer-confirm.service"
    assert values(confirm, "ExecStart") == [f"{BOARD.agent} confirm"]
    assert values(confirm, "ConditionPathExists") == [str(BOARD.pending_flag)]
    (helper,) = values(UNITS / "edge-fer-power-mode@.service", "ExecStart")
    assert helper.startswith(f"{BOARD.current}/bin/python -I ")
    assert values(DROP_INS / "credentials.conf", "LoadCredential") == [f"mqtt-password:{BOARD.password}"]
    assert the("ConfigurationDirectory") == BOARD.etc.name
    assert the("StateDirectory") == BOARD.data.name


@pytest.mark.skipif(
    shutil.which("systemd-tmpfiles") is None, reason="systemd-tmpfiles is missing: apt-get install systemd"
)
def test_the_power_rails_are_opened_and_nothing_else(tmp_path: Path) -> None:
    chip = tmp_path / "sys/bus/i2c/devices/1-0040/hwmon/hwmon3"
    other = tmp_path / "sys/bus/i2c/devices/1-0050/hwmon/hwmon4"
    rapl = tmp_path / "sys/class/powercap/intel-rapl:0"
    for folder, names in (
        (chip, ("in1_label", "in1_input", "curr1_input", "name")),
        (other, ("in1_input",)),
        (rapl, ("energy_uj",)),
    ):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text("1\n")
            (folder / name).chmod(0o600)
    rules = UNITS / "tmpfiles.d/edge-fer.conf"
    subprocess.run(["systemd-tmpfiles", f"--root={tmp_path}", "--create", str(rules)], check=True, capture_output=True)
    opened = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in chip.iterdir()}
    assert opened == {"in1_label": "0o444", "in1_input": "0o444", "curr1_input": "0o444", "name": "0o600"}
    for file in (other / "in1_input", rapl / "energy_uj"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_manual_of_power_shows_the_rules_that_are_installed() -> None:
    shown = {line.strip() for line in (ROOT / "docs/power.md").read_text().splitlines()}
    for file in (UNITS / "tmpfiles.d/edge-fer.conf", UNITS / "udev/60-edge-fer.rules"):
        rules = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
        assert rules
        assert set(rules) <= shown


def the_words(key: str, file: Path) -> list[str]:
    """All words of a key, without the sign that turns a list round."""
    return [word.lstrip("~") for value in values(file, key) for word in value.split()]
