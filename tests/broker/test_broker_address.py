"""Broker URLs and passwords."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from shutil import which

import pytest

from edge_fer.config import BrokerSettings, load_config
from edge_fer.errors import ConfigError
from edge_fer.login import BrokerAddress, Credentials, Login, TlsFiles, parse_broker_url, tls_context
from edge_fer.mqtt.publisher import MqttPublisher


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("mqtt://host", BrokerAddress("host", 1883), "mqtt://host:1883"),
        ("mqtts://host", BrokerAddress("host", 8883, tls=True), "mqtts://host:8883"),
        ("mqtt://cam@host:1884", BrokerAddress("host", 1884, "cam"), "mqtt://cam@host:1884"),
        ("mqtt://cam@host:1884/", BrokerAddress("host", 1884, "cam"), "mqtt://cam@host:1884"),
        ("mqtt://a%40b@10.0.0.2", BrokerAddress("10.0.0.2", 1883, "a@b"), "mqtt://a%40b@10.0.0.2:1883"),
        ("mqtts://[fd00::1]:9000", BrokerAddress("fd00::1", 9000, tls=True), "mqtts://[fd00::1]:9000"),
        ("mqtt://[::1]", BrokerAddress("::1", 1883), "mqtt://[::1]:1883"),
        ("ws://host", BrokerAddress("host", 80, path="/mqtt"), "ws://host:80/mqtt"),
        ("ws://cam@host:9001/", BrokerAddress("host", 9001, "cam", path="/"), "ws://cam@host:9001/"),
        ("wss://host/a/b", BrokerAddress("host", 443, tls=True, path="/a/b"), "wss://host:443/a/b"),
        ("mqtt://host:65535", BrokerAddress("host", 65535), "mqtt://host:65535"),
    ],
)
def test_urls(url: str, address: BrokerAddress, shown: str) -> None:
    assert parse_broker_url(url) == address
    assert str(address) == shown
    assert parse_broker_url(shown) == address


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://host", "unknown scheme 'http'"),
        ("mqtt+ssl://host", "unknown scheme 'mqtt+ssl'"),
        ("host:1883", "no scheme"),
        ("", "no scheme"),
        ("mqtt://", "no host"),
        ("mqtt://:1883", "no host"),
        ("mqtt://cam@", "no host"),
        ("mqtt://host:0", "from 1 to 65535"),
        ("mqtt://host:65536", "from 1 to 65535"),
        ("mqtt://host:-1", "from 1 to 65535"),
        ("mqtt://host:http", "from 1 to 65535"),
        ("mqtt://fd00::1", "from 1 to 65535"),
        ("mqtt://[fd00::1", "no valid host"),
        ("mqtt://host/topic", "more than a host and a port"),
        ("ws://host/mqtt?token=1", "more than a host, a port and a path"),
        ("wss://host/m\u00e9", "percent-encoded"),
        ("mqtt://host?x=1", "more than a host and a port"),
        ("mqtt://my host", "white space"),
    ],
)
def test_wrong_urls_name_the_problem_and_what_is_right(url: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_broker_url(url)
    assert problem in str(caught.value)
    # What stands after a colon without being a port may be a password whose host was forgotten.
    masked = {
        "mqtt://host:-1": "mqtt://host:...",
        "mqtt://host:http": "mqtt://host:...",
        "mqtt://fd00::1": "mqtt://fd00:...",
    }
    shown = masked.get(url, url)
    assert repr(shown) in str(caught.value) or "@" in url
    assert "mqtt://[user@]host[:port]" in str(caught.value)


@pytest.mark.parametrize(
    "secret", ["hunter2", "hunt@er2", "hunt/er2", "hunt#er2", "hunt?er2", "hunt:er2", "hunt er2", "[hunter2"]
)
@pytest.mark.parametrize("start", ["mqtt://cam:", "mqtt://:", "mqtts://cam:", "http://cam:", "cam:", "mq-tt://cam:"])
def test_a_password_in_a_url_is_never_repeated(start: str, secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_broker_url(f"{start}{secret}@host:1883")
    told = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "hunt" not in told
    assert "er2" not in told
    assert "host:1883" in told


def test_a_password_in_a_url_is_refused_with_the_alternatives() -> None:
    with pytest.raises(ConfigError, match=r"EDGE_FER_MQTT_PASSWORD.*broker\.password_file"):
        parse_broker_url("mqtt://cam:hunter2@host")


ADDRESS = BrokerAddress("host", 1883)
AS_CAM = BrokerAddress("host", 1883, "cam")


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_who_is_asked_for_user_and_password_first(tmp_path: Path) -> None:
    file = written(tmp_path / "password", "from-file\n")
    user = written(tmp_path / "user", "from-file\n")
    given = tmp_path / "credentials"
    written(given / "mqtt-password", "from-systemd\n")
    written(given / "mqtt-user", "user-from-systemd")

    def read(address: BrokerAddress, **environ: str) -> Credentials:
        return Login(address, user_file=user, password_file=file, environ=environ).read()

    systemd = {"CREDENTIALS_DIRECTORY": str(given)}
    assert read(AS_CAM, EDGE_FER_MQTT_PASSWORD="from-env", **systemd) == ("cam", "from-env")  # noqa: S106
    assert read(AS_CAM, **systemd) == ("cam", "from-systemd")
    assert read(ADDRESS, **systemd) == ("user-from-systemd", "from-systemd")
    assert read(ADDRESS, EDGE_FER_MQTT_PASSWORD="") == ("from-file", "from-file")
    assert read(ADDRESS, CREDENTIALS_DIRECTORY=str(tmp_path / "none")) == ("from-file", "from-file")
    assert Login(ADDRESS, environ={}).read() == (None, None)


def test_a_changed_password_file_is_read_again(tmp_path: Path) -> None:
    login = Login(AS_CAM, password_file=written(tmp_path / "password", "old"), environ={})
    assert login.read().password == "old"  # noqa: S105
    written(tmp_path / "password", "new")
    assert login.read().password == "new"  # noqa: S105


def test_credentials_do_not_show_their_password() -> None:
    assert "hunter2" not in f"{Credentials('cam', 'hunter2')} {Credentials('cam', 'hunter2')!r}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot be read"), (b"\n", "is empty"), (b"\xff\xfe", "UTF-8"), (b"a\nb\n", "more than one line")],
)
@pytest.mark.parametrize("what", ["password", "user"])
def test_useless_password_and_user_files(tmp_path: Path, what: str, content: bytes | None, problem: str) -> None:
    file = tmp_path / what
    if content is not None:
        file.write_bytes(content)
    files = {f"{what}_file": file}
    with pytest.raises(ConfigError, match=f"^broker.{what}_file: .*{what}.*{problem}"):
        Login(ADDRESS, environ={}, **files).read()


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o640, False), (0o600, False)])
def test_a_file_for_everyone_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, *, warned: bool
) -> None:
    file = written(tmp_path / "password", "hunter2\n")
    file.chmod(mode)
    login = Login(AS_CAM, password_file=file, environ={})
    with caplog.at_level(logging.WARNING):
        assert [login.read().password for _ in range(2)] == ["hunter2"] * 2
    assert caplog.text.count("chmod") == warned
    assert "hunter2" not in caplog.text


def test_useless_certificate_files(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(ConfigError, match=r"broker\.ca_file: .*cannot be read"):
        MqttPublisher(BrokerAddress("host", 8883, tls=True), node="n", boot_id="b", tls_files=TlsFiles(file))
    file.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"broker\.ca_file: .*PEM"):
        MqttPublisher(BrokerAddress("host", 8883, tls=True), node="n", boot_id="b", tls_files=TlsFiles(file))
    with pytest.raises(ConfigError, match=r"broker\.ca_file: .*not encrypted.*mqtts"):
        MqttPublisher(BrokerAddress("host", 1883), node="n", boot_id="b", tls_files=TlsFiles(file))


def test_a_password_without_a_user_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    login = Login(ADDRESS, environ={"EDGE_FER_MQTT_PASSWORD": "hunter2"})
    MqttPublisher(ADDRESS, node="n", boot_id="b", login=login)
    assert "names no user" in caplog.text
    assert "hunter2" not in caplog.text


def test_useless_client_certificates(tmp_path: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=tmp_path)

    if which("openssl") is None:
        pytest.skip("openssl is not installed on this machine: client certificates NOT tested")
    for name, encrypted in (("one", ("-nodes",)), ("two", ("-nodes",)), ("secret", ("-passout", "pass:hunter2"))):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=n", *encrypted, "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip # noqa: E501
    encrypted_address = BrokerAddress("host", 8883, tls=True)

    def problem(address: BrokerAddress, **files: str) -> str:
        with pytest.raises(ConfigError) as caught:
            tls_context(address, TlsFiles(**{name: tmp_path / file for name, file in files.items()}))
        return str(caught.value)

    assert "not the key of this certificate" in problem(encrypted_address, cert="one.pem", key="two.key")
    assert "not encrypted, in PEM format" in problem(encrypted_address, cert="secret.pem", key="secret.key")
    assert "broker.key_file" in problem(encrypted_address, cert="one.pem", key="none.key")
    assert "broker.cert_file" in problem(encrypted_address, cert="none.pem", key="one.key")
    assert "without broker.cert_file" in problem(encrypted_address, key="one.key")
    assert "right is wss://" in problem(BrokerAddress("host", 80, path="/"), cert="one.pem")
    assert tls_context(encrypted_address, TlsFiles(cert=tmp_path / "one.pem", key=tmp_path / "one.key"))


def configured(**broker: object) -> BrokerSettings:
    tables = {"camera": {"a": {"uri": "/dev/video0"}}, "broker": {"url": "mqtt://cam@host", **broker}}
    found = load_config(None, tables).broker
    assert found is not None
    return found


def test_settings_of_the_broker_are_checked(tmp_path: Path) -> None:
    assert configured().keepalive_s == 30
    assert configured(keepalive_s=600).tls_files == TlsFiles()
    for keepalive_s in (4, 601):
        with pytest.raises(ConfigError, match=r"broker\.keepalive_s: found"):
            configured(keepalive_s=keepalive_s)
    with pytest.raises(ConfigError, match=r"broker\.user_file: mqtt://cam@host:1883 names a user already"):
        configured(user_file=str(tmp_path / "user"))
    with pytest.raises(ConfigError, match=r"broker\.cert_file: of no use with mqtt://"):
        configured(cert_file=str(tmp_path / "cert.pem"))
    with pytest.raises(ConfigError, match=r"broker\.password: unknown key; did you mean 'password_file'"):
        configured(password="hunter2")  # noqa: S106
