"""The broker's check against real brokers: what it says, and that nobody notices it."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from realbrokers import (
    MOSQUITTO,
    SECRET,
    Authority,
    Mosquitto,
    Subscriber,
    free_port,
    plain_port,
    set_password,
    wait_until,
)

from edge_fer.broker import EmbeddedBroker
from edge_fer.doctor.broker import check_broker
from edge_fer.doctor.certificates import check_certificates, validity
from edge_fer.doctor.finding import Finding
from edge_fer.doctor.patient import Patient
from edge_fer.login import PASSWORD_VARIABLE

Made = Callable[..., Patient]
DAY_S = 86_400


@pytest.fixture
def make_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    if MOSQUITTO is None or shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto is not installed on this machine (apt install mosquitto): NOT tested against it")
    made: list[Mosquitto] = []

    def make(options: str = "allow_anonymous true") -> Mosquitto:
        made.append(Mosquitto(tmp_path, options))
        return made[-1].start()

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed on this machine: TLS NOT tested")
    made = Authority(tmp_path)
    made.sign("broker")
    return made


@pytest.fixture
def make_tls(make_mosquitto: Callable[..., Mosquitto], authority: Authority) -> Callable[..., Mosquitto]:
    """With a certificate, and a second listener without TLS."""

    def make(certificate: str = "broker", more: str = "") -> Mosquitto:
        folder = authority.folder
        keys = f"cafile {folder}/ca.pem\ncertfile {folder}/{certificate}.pem\nkeyfile {folder}/{certificate}.key"
        broker = make_mosquitto(f"{keys}\n{more}\nlistener {free_port()} 127.0.0.1\nallow_anonymous true")
        wait_until(lambda: " running" in broker.log())
        return broker

    return make


def at(port: int, more: str = "", *, scheme: str = "mqtt", user: str = "") -> str:
    """The [broker] of a configuration."""
    return f'[broker]\nurl = "{scheme}://{user}127.0.0.1:{port}"\n{more}\n'


def one(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_without_a_broker_there_is_nothing_to_look_at(make_patient: Made) -> None:
    assert one(check_broker(make_patient(""))).result == "skipped"
    assert one(check_certificates(make_patient(""))).result == "skipped"


def test_a_broker_that_lets_everybody_in_is_well(make_patient: Made, make_mosquitto: Callable[..., Mosquitto]) -> None:
    broker = make_mosquitto()
    found = one(check_broker(make_patient(at(broker.port))))
    assert found.result == "ok"
    assert "lets this node in (MQTT 5, without a user)" in found.found


def test_nobody_hears_of_the_look(make_patient: Made, make_mosquitto: Callable[..., Mosquitto]) -> None:
    """It publishes nothing, asks for nothing, leaves nothing, no last will either."""
    broker = make_mosquitto()
    others = Subscriber(broker.port)
    check_broker(make_patient(f'node = "kitchen"\n{at(broker.port)}'))
    wait_until(lambda: "edge-fer-doctor-" in broker.log())
    wait_until(lambda: any("edge-fer-doctor-" in line and "disconnected" in line for line in broker.log().splitlines()))
    of_it = [line for line in broker.log().splitlines() if "edge-fer-doctor-" in line]
    assert not [line for line in of_it if any(word in line for word in ("PUBLISH", "SUBSCRIBE"))]
    assert "Will message specified" not in broker.log()
    assert any("Received DISCONNECT" in line for line in of_it)  # so that no broker calls it lost
    assert "edge-fer-kitchen" not in broker.log()
    assert others.messages == []
    others.close()


def test_a_broker_that_is_not_there_is_told(make_patient: Made) -> None:
    found = one(check_broker(make_patient(at(free_port()))))
    assert found.result == "failed"
    assert "not reachable (Connection refused)" in found.found
    assert "retrying" not in found.found
    assert "does the broker run" in found.cure


def test_a_host_that_nobody_knows_is_told(make_patient: Made) -> None:
    found = one(check_broker(make_patient('[broker]\nurl = "mqtt://no-such-host.invalid"\n')))
    assert (found.result, "not reachable" in found.found) == ("failed", True)


def test_a_port_where_something_else_listens_is_told(make_patient: Made) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_greet_all, args=(server,), daemon=True).start()
        found = one(check_broker(make_patient(at(server.getsockname()[1]))))
    assert found.result == "failed"
    assert "does not answer as an MQTT broker" in found.found


def _greet_all(server: socket.socket) -> None:
    while True:
        try:
            taken, _ = server.accept()
        except OSError:
            return
        with taken:
            taken.sendall(b"220 mail.example ESMTP\r\n")


@pytest.fixture
def with_password(make_mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> Mosquitto:
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    broker = make_mosquitto(f"allow_anonymous false\npassword_file {passwords}")
    broker.kill()
    set_password(passwords, SECRET)
    return broker.start()


def test_the_right_password_lets_in(make_patient: Made, with_password: Mosquitto, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(SECRET)
    found = one(check_broker(make_patient(at(with_password.port, f'password_file = "{file}"', user="cam@"))))
    assert (found.result, "user 'cam'" in found.found) == ("ok", True)


@pytest.mark.parametrize(("password", "told"), [("wrong-one", "user 'cam', a password"), ("", "no password")])
def test_a_wrong_password_is_told_and_never_shown(
    make_patient: Made, with_password: Mosquitto, password: str, told: str
) -> None:
    environ = {**os.environ, PASSWORD_VARIABLE: password}
    found = one(check_broker(make_patient(at(with_password.port, user="cam@"), environ=environ)))
    assert found.result == "failed"
    assert told in found.found
    assert "LoadCredential" in found.cure
    assert not password or password not in str(found)


def test_a_password_file_that_is_missing_is_told(make_patient: Made, tmp_path: Path) -> None:
    more = f'password_file = "{tmp_path}/nothing"'
    found = one(check_broker(make_patient(at(free_port(), more, user="cam@"))))
    assert found.result == "failed"
    assert "broker.password_file" in found.found
    assert "sudo -u USER" in found.cure


def test_an_old_broker_is_met_in_its_own_version(make_patient: Made) -> None:
    with EmbeddedBroker(0) as broker:
        found = one(check_broker(make_patient(at(broker.port))))
    assert (found.result, "MQTT 3.1.1" in found.found) == ("ok", True)


def test_tls_with_the_right_authority_is_well(
    make_patient: Made, make_tls: Callable[..., Mosquitto], authority: Authority
) -> None:
    broker = make_tls()
    patient = make_patient(at(broker.port, f'ca_file = "{authority.folder}/ca.pem"', scheme="mqtts"))
    assert one(check_broker(patient)).result == "ok"
    findings = check_certificates(patient)
    assert [(finding.about, finding.result) for finding in findings] == [
        ("broker.ca_file", "ok"),
        ("of the broker", "ok"),
    ]


@pytest.mark.parametrize(
    ("subject", "by", "days", "told"),
    [
        ("IP:127.0.0.1", "other", "2", "not trusted"),
        ("DNS:elsewhere", "ca", "2", "for another name than '127.0.0.1'"),
        ("IP:127.0.0.1", "ca", "-1", "expired"),
    ],
)
def test_a_certificate_that_is_wrong_is_told_with_its_cause(
    make_patient: Made,
    make_tls: Callable[..., Mosquitto],
    authority: Authority,
    subject: str,
    by: str,
    days: str,
    told: str,
) -> None:
    authority.make("other")
    authority.sign("odd", subject, by, days=days)
    broker = make_tls("odd")
    patient = make_patient(at(broker.port, f'ca_file = "{authority.folder}/ca.pem"', scheme="mqtts"))
    found = one(check_broker(patient))
    assert (found.result, told in found.found) == ("failed", True)
    assert check_certificates(patient)[-1].result == "skipped"  # the reason is told once


def test_tls_at_a_port_without_it_is_told(
    make_patient: Made, make_tls: Callable[..., Mosquitto], authority: Authority
) -> None:
    broker = make_tls()
    text = at(plain_port(broker), f'ca_file = "{authority.folder}/ca.pem"', scheme="mqtts")
    found = one(check_broker(make_patient(text)))
    assert (found.result, "TLS" in found.found) == ("failed", True)


def test_a_broker_that_wants_a_certificate_says_so(
    make_patient: Made, make_tls: Callable[..., Mosquitto], authority: Authority
) -> None:
    broker = make_tls(more="require_certificate true")
    patient = make_patient(at(broker.port, f'ca_file = "{authority.folder}/ca.pem"', scheme="mqtts"))
    found = one(check_broker(patient))
    assert found.result == "failed"
    assert "broker.cert_file" in found.found


def test_a_certificate_that_ends_soon_is_a_warning(
    make_patient: Made, make_tls: Callable[..., Mosquitto], authority: Authority
) -> None:
    """Those of the tests live for 2 days: the last quarter begins after one and a half."""
    authority.sign("kitchen")
    folder = authority.folder
    broker = make_tls(more="require_certificate true")
    files = f'ca_file = "{folder}/ca.pem"\ncert_file = "{folder}/kitchen.pem"\nkey_file = "{folder}/kitchen.key"'
    issued_s = validity(_der(folder / "kitchen.pem")).from_s
    for days, results in ((1.4, {"ok"}), (1.6, {"warning"}), (2.1, {"failed"}), (-0.1, {"failed"})):
        text = at(broker.port, files, scheme="mqtts")
        findings = check_certificates(make_patient(text, unix_s=lambda days=days: issued_s + days * DAY_S))
        assert [finding.about for finding in findings] == ["broker.ca_file", "broker.cert_file", "of the broker"]
        assert {finding.result for finding in findings} == results, days
    assert "is not valid before" in findings[1].found
    soon = check_certificates(make_patient(text, unix_s=lambda: issued_s + 1.6 * DAY_S))[1]
    assert "expires in 9 hours" in soon.found  # 2 - 1.6 days = 9.6 hours


def _der(file: Path) -> bytes:
    import ssl

    return ssl.PEM_cert_to_DER_cert(file.read_text())


def test_the_times_of_a_certificate_are_those_of_openssl(authority: Authority) -> None:
    import ssl
    import subprocess

    file = authority.folder / "broker.pem"
    dates = subprocess.run(
        ["openssl", "x509", "-in", str(file), "-noout", "-dates"], capture_output=True, text=True, check=True
    )
    wanted = [ssl.cert_time_to_seconds(line.partition("=")[2]) for line in dates.stdout.splitlines()]
    assert list(validity(_der(file))) == wanted


def test_a_certificate_beyond_2049_has_another_kind_of_time(authority: Authority) -> None:
    authority.sign("late", days="20000")  # 54 years: GeneralizedTime, as RFC 5280 wants it from 2050 on
    found = validity(_der(authority.folder / "late.pem"))
    assert found.until_s - found.from_s == 20000 * DAY_S


@pytest.mark.parametrize("cut", [0, 1, 5, 60, 200])
def test_what_is_no_certificate_is_refused(authority: Authority, cut: int) -> None:
    with pytest.raises(ValueError, match="not a certificate"):
        validity(_der(authority.folder / "broker.pem")[:cut])
    with pytest.raises(ValueError, match="not a certificate"):
        validity(b"\x02" * (cut + 1))
