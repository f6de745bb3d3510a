"""`make deploy` over ssh to a real systemd, from the first deployment to a release that is taken back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deployer import Deployer
from realbrokers import Mosquitto, Subscriber
from releases import Bundles, configuration, tampered
from rootfs import wait_until
from systemdhost import SystemdHost

from deploy.checkout import PROJECT
from deploy.manifest import release_of
from deploy.signing import create_key

pytestmark = [pytest.mark.system, pytest.mark.hosts]

EVENTS, STATUS = "edge-fer/lab/camera/front/events", "edge-fer/lab/status"


@pytest.fixture(scope="module")
def user(
    tmp_path_factory: pytest.TempPathFactory,
    make_host: Callable[..., SystemdHost],
    make_bundles: Callable[[str], Bundles],
    broker: Mosquitto,
) -> Deployer:
    """With a host to which nothing was deployed when the first test of this module began."""
    return Deployer(tmp_path_factory.mktemp("user"), make_host(), make_bundles("generic-amd64"), broker)


@pytest.fixture
def heard(user: Deployer) -> Iterator[Subscriber]:
    subscriber = user.subscribe()
    yield subscriber
    subscriber.close()


@pytest.fixture
def running(user: Deployer) -> str:
    """The release 0.1.0 is deployed, and runs."""
    bundle = user.bundles.well("0.1.0")
    done = user.deploy(bundle, "--config", str(user.config))
    assert done.returncode == 0, told(done)
    wait_until(lambda: user.host.properties()["ActiveState"] == "active", 60, "the service is active")
    return release_of(bundle)


def told(done: subprocess.CompletedProcess[str]) -> str:
    return f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"


def current(host: SystemdHost) -> str:
    return host.said("readlink /opt/edge-fer/current").rpartition("/")[2]


def wait_for_news(heard: Subscriber, topic: str = EVENTS) -> None:
    before = len(heard.on(topic))
    wait_until(lambda: len(heard.on(topic)) > before, 120, f"something new on {topic}")


def test_first_deployment_by_make_ends_with_a_service_whose_events_arrive(user: Deployer, heard: Subscriber) -> None:
    make = ["make", "--no-print-directory", "deploy", "BOARD=generic-amd64", f"HOST={user.host.name}"]
    make += [f"SSH_CONFIG={user.host.ssh_config}", f"CONFIG={user.config}", f"KEY={user.bundles.key}"]
    done = user.run([*make, f"PYTHON={sys.executable}"])
    assert done.returncode == 0, told(done)
    wait_for_news(heard)
    assert heard.payloads(STATUS)[-1] == b"online"
    unit = user.host.properties()
    assert (unit["ActiveState"], unit["UnitFileState"], unit["NRestarts"]) == ("active", "enabled", "0")
    told_at_last = "online; broker connected; 1 of 1 cameras online"
    wait_until(lambda: user.host.properties()["StatusText"].startswith(told_at_last), 60, told_at_last)


def test_the_service_runs_hardened_and_not_as_root(user: Deployer, running: str) -> None:
    said = user.host.said("systemd-analyze security --no-pager edge-fer.service | tail -1")
    exposure = re.search(r"(\d+\.\d+)", said)
    assert exposure, said
    assert float(exposure[1]) <= 1.5
    pid = user.host.properties()["MainPID"]
    assert user.host.said(f"ps -o user= -p {pid}") == "edge-fer"
    status = user.host.said(f"cat /proc/{pid}/status")
    assert re.search(r"CapBnd:\s+0+$", status, re.MULTILINE), status
    assert re.search(r"Seccomp:\s+2$", status, re.MULTILINE), status
    assert running in user.host.said(f"cat /proc/{pid}/cmdline | tr '\\0' ' '")


def test_nothing_is_done_where_nothing_has_changed(user: Deployer, running: str) -> None:
    before = user.host.properties()["MainPID"]
    done = user.deploy(user.bundles.well("0.1.0"), "--config", str(user.config))
    assert done.returncode == 0, told(done)
    assert "nothing to do" in done.stdout
    assert user.host.properties()["MainPID"] == before
    assert current(user.host) == running


def test_another_release_takes_over_and_rollback_brings_the_one_before(
    user: Deployer, running: str, heard: Subscriber
) -> None:
    newer = user.bundles.well("0.2.0")
    done = user.deploy(newer)
    assert done.returncode == 0, told(done)
    assert current(user.host) == release_of(newer)
    wait_until(lambda: _version(heard) == "0.2.0", 60, "the info of 0.2.0")
    done = user("rollback")
    assert done.returncode == 0, told(done)
    assert current(user.host) == running
    wait_until(lambda: _version(heard) == "0.1.0", 60, "the info of 0.1.0")
    wait_for_news(heard)


def _version(heard: Subscriber) -> str:
    infos = heard.on("edge-fer/lab/info")
    return str(infos[-1].body["version"]) if infos else ""


def test_a_release_that_is_not_well_is_taken_back(
    user: Deployer, running: str, heard: Subscriber, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = user.host.ssh("systemctl show edge-fer.service -p ActiveEnterTimestampMonotonic --value")
    done = user.deploy(user.bundles.broken())
    assert done.returncode == 1, told(done)
    assert "this release is broken" in done.stdout, told(done)  # the journal's last lines
    assert current(user.host) == running
    assert user.host.properties()["ActiveState"] == "active"
    after = user.host.ssh("systemctl show edge-fer.service -p ActiveEnterTimestampMonotonic --value")
    assert int(after.stdout) > int(watch.stdout)
    gap_s = _longest_gap_s(user.host, int(watch.stdout) / 1e6)
    with capsys.disabled():
        sys.stderr.write(f"\nup again {gap_s:.1f} s after the release before was stopped for the broken one\n")
    wait_for_news(heard)


def _longest_gap_s(host: SystemdHost, since_s: float) -> float:
    """Between the end of what ran and the next start, by the journal's own clock."""
    lines = host.said("journalctl -b -u edge-fer.service -o json --output-fields=MESSAGE,__MONOTONIC_TIMESTAMP")
    entries = [json.loads(line) for line in lines.splitlines()]
    moments = [(int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6, str(entry["MESSAGE"])) for entry in entries]
    stopped = [at for at, text in moments if text.startswith("Stopped edge-fer.service") and at > since_s]
    started = [at for at, text in moments if text.startswith("Started edge-fer.service") and at > since_s]
    return started[-1] - stopped[0]


def test_a_tampered_bundle_is_refused(user: Deployer, running: str, tmp_path: Path) -> None:
    bundle = user.bundles.well("0.2.1")
    before = user.host.properties()["MainPID"]
    done = user.deploy(tampered(bundle, tmp_path / bundle.name))
    assert done.returncode != 0
    assert "sha256" in done.stdout + done.stderr, told(done)
    assert user.host.properties()["MainPID"] == before
    assert current(user.host) == running
    assert release_of(bundle) not in user.host.said("ls -a /opt/edge-fer/releases")


def test_a_bundle_of_another_key_is_refused_until_it_is_trusted(user: Deployer, running: str, tmp_path: Path) -> None:
    other = tmp_path / "other_key"
    create_key(other)
    bundle = user.bundles.signed_by(other, "0.2.2")
    done = user.deploy(bundle, "--key", str(other))
    assert done.returncode != 0
    assert done.stdout.count("SHA256:") + done.stderr.count("SHA256:") >= 2, told(done)
    assert current(user.host) == running
    done = user.deploy(bundle, "--key", str(other), "--trust")
    assert done.returncode == 0, told(done)
    assert current(user.host) == release_of(bundle)


@pytest.mark.usefixtures("running")
def test_the_password_of_the_broker_is_kept_from_everybody_else(user: Deployer, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct-horse-battery\n")
    done = user.deploy(user.bundles.well("0.1.0"), "--mqtt-password-file", str(secret))
    assert done.returncode == 0, told(done)
    assert "correct-horse" not in done.stdout + done.stderr
    assert user.host.said("stat -c '%a %U %G' /etc/edge-fer/mqtt-password") == "640 root edge-fer"
    assert "correct-horse" not in user.host.journal()
    pid = user.host.properties()["MainPID"]
    assert user.host.said(f"tr '\\0' '\\n' < /proc/{pid}/environ | grep CREDENTIALS_DIRECTORY")
    assert user.host.said("find / -xdev -name mqtt-password -path '*cache*' 2>/dev/null | wc -l") == "0"


def test_a_connection_that_is_cut_leaves_a_board_that_finishes_by_itself(user: Deployer, running: str) -> None:
    newer = user.bundles.well("0.3.0")
    command = [sys.executable, "-m", "deploy", "deploy", "--board", "generic-amd64", "--bundle", str(newer)]
    command += ["--key", str(user.bundles.key), "--gate-s", "60", "--host", user.host.name]
    command += ["--ssh-config", str(user.host.ssh_config)]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: user.host.ssh("ls -d /opt/edge-fer/releases/.0.3.0*").returncode == 0, 300, "it unpacks")
        user.host.ssh("pkill -KILL -f 'sshd: root'")
        assert process.wait(120) != 0
        assert process.stdout
        assert "the connection was cut" in process.stdout.read()
    finally:
        process.kill()
        process.wait()
    done = user.deploy(newer)
    assert done.returncode == 0, told(done)
    assert current(user.host) == release_of(newer) != running
    assert user.host.said("ls -A /opt/edge-fer/releases | grep '^[.]' | wc -l") == "0"


@pytest.mark.usefixtures("running")
def test_everything_that_is_wrong_is_named_at_once_and_nothing_is_changed(user: Deployer) -> None:
    done = user.deploy(user.bundles.well("0.1.0"), board="generic-arm64")
    assert done.returncode == 1, told(done)
    assert "was not touched" in done.stderr
    assert "processor is x86_64" in done.stderr
    done = user.deploy(user.bundles.well("0.1.0"), board="raspberry-pi-5")
    assert done.returncode == 1, told(done)


@pytest.mark.usefixtures("running")
def test_a_disk_that_is_too_small_is_named_with_what_is_needed(user: Deployer) -> None:
    bundle = user.bundles.well("0.4.0")
    user.host.said("mount -t tmpfs -o size=50M tmpfs /opt/edge-fer")
    try:
        done = user.deploy(bundle)
    finally:
        user.host.said("umount -l /opt/edge-fer")
    assert done.returncode == 1, told(done)
    assert re.search(r"MB are free .*MB are needed", done.stdout + done.stderr), told(done)


@pytest.mark.usefixtures("running")
def test_a_user_without_sudo_is_told_so(user: Deployer) -> None:
    host = user.host
    host.said("id visitor 2>/dev/null || useradd -m -s /bin/bash visitor")
    host.allow("visitor", host.root / "home/visitor")
    host.said("chown -R visitor: /home/visitor/.ssh")
    where = host.name.replace("root@", "visitor@")
    words = ["--board", "generic-amd64", "--bundle", str(user.bundles.well("0.1.0")), "--key", str(user.bundles.key)]
    done = user("deploy", *words, host=where)
    assert done.returncode == 1, told(done)
    assert "sudo" in done.stderr
    host.said("echo 'visitor ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/visitor")
    done = user("deploy", *words, host=where)
    assert done.returncode == 0, told(done)


def test_status_tells_what_runs(user: Deployer, running: str) -> None:
    done = user("status")
    assert done.returncode == 0, told(done)
    assert running in done.stdout
    assert "online; broker connected" in done.stdout
    found = json.loads(user("status", "--json").stdout)
    assert found["current"] == running


@pytest.mark.usefixtures("running")
def test_logs_shows_the_journal(user: Deployer) -> None:
    done = user("logs", "--lines", "200")
    assert done.returncode == 0
    assert "camera front online" in done.stdout, told(done)


class TestSystemd:
    """What systemd does with the service."""

    @pytest.mark.usefixtures("running")
    def test_a_daemon_that_is_killed_is_started_again(self, user: Deployer, heard: Subscriber) -> None:
        before = user.host.properties()
        user.host.said(f"kill -9 {before['MainPID']}")
        wait_until(lambda: _runs_anew(user.host, before), 60, "a new daemon")
        wait_for_news(heard)

    @pytest.mark.usefixtures("running")
    def test_a_daemon_that_is_wedged_is_killed_and_started_again(self, user: Deployer, heard: Subscriber) -> None:
        user.host.said("mkdir -p /run/systemd/system/edge-fer.service.d")
        user.host.said("printf '[Service]\\nWatchdogSec=3\\n' > /run/systemd/system/edge-fer.service.d/99-test.conf")
        user.host.said("systemctl daemon-reload && systemctl restart edge-fer.service")
        try:
            before = user.host.properties()
            user.host.said(f"kill -STOP {before['MainPID']}")
            wait_until(lambda: _runs_anew(user.host, before), 90, "a new daemon")
            assert "Watchdog timeout" in user.host.journal()
            wait_for_news(heard)
        finally:
            user.host.said("rm /run/systemd/system/edge-fer.service.d/99-test.conf && systemctl daemon-reload")

    @pytest.mark.usefixtures("running")
    def test_it_is_stopped_by_its_own_will(self, user: Deployer, heard: Subscriber) -> None:
        user.host.said("systemctl stop edge-fer.service")
        unit = user.host.properties()
        assert (unit["ActiveState"], unit["Result"], unit["ExecMainStatus"]) == ("inactive", "success", "0")
        wait_until(lambda: heard.payloads(STATUS)[-1] == b"offline", 60, "offline")
        user.host.said("systemctl start edge-fer.service")

    @pytest.mark.usefixtures("running")
    def test_a_wrong_configuration_is_not_tried_again(self, user: Deployer) -> None:
        user.host.said(
            "cp -p /etc/edge-fer/edge-fer.toml /root/good && echo 'nodee = 1' >> /etc/edge-fer/edge-fer.toml"
        )
        try:
            user.host.ssh("systemctl restart edge-fer.service")
            wait_until(lambda: user.host.properties()["ActiveState"] == "failed", 30, "it has failed")
            failed = user.host.properties()
            time.sleep(5)  # longer than RestartSec
            assert user.host.properties() == failed
            assert failed["NRestarts"] == "0"
            assert "unknown key" in user.host.journal()
        finally:
            user.host.said("cp -p /root/good /etc/edge-fer/edge-fer.toml && systemctl restart edge-fer.service")

    def test_a_reload_is_told_to_systemd(self, user: Deployer, running: str) -> None:
        before = user.host.properties()["MainPID"]
        user.host.said("systemctl reload edge-fer.service")
        wait_until(lambda: "configuration read again" in user.host.journal(), 60, "the configuration is read")
        wait_until(lambda: user.host.properties()["ActiveState"] == "active", 60, "it is reloaded")
        assert user.host.properties()["MainPID"] == before
        assert running


def _runs_anew(host: SystemdHost, before: dict[str, str]) -> bool:
    now = host.properties()
    return now["ActiveState"] == "active" and now["MainPID"] not in ("0", before["MainPID"])


def test_a_configuration_with_an_error_is_refused_before_the_switch(
    user: Deployer, running: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(configuration(user.broker.port, more="[decide]\nmin_confidense = 0.5"))
    before = user.host.properties()["MainPID"]
    done = user.deploy(user.bundles.well("0.1.0"), "--config", str(wrong))
    assert done.returncode == 78, told(done)
    assert "did you mean 'min_confidence'" in done.stdout + done.stderr, told(done)
    assert user.host.properties()["MainPID"] == before
    assert "min_confidense" not in user.host.said("cat /etc/edge-fer/edge-fer.toml")
    assert current(user.host) == running


def test_a_board_is_left_as_it_was_by_undeploy(user: Deployer, running: str) -> None:
    assert running
    done = user("undeploy")
    assert done.returncode == 0, told(done)
    assert user.host.ssh("systemctl cat edge-fer.service").returncode != 0
    assert user.host.ssh("test -e /opt/edge-fer").returncode != 0
    assert user.host.said("ls /etc/edge-fer/edge-fer.toml")
    done = user("status")
    assert done.returncode == 69
    assert "not deployed" in done.stderr
    done = user("undeploy")
    assert done.returncode == 69
