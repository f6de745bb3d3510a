"""Broker URLs and passwords."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edge_fer.errors import ConfigError
from edge_fer.login import BrokerAddress, parse_broker_url, read_password
from edge_fer.mqtt import MqttPublisher


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


def test_password_of_the_environment_goes_first(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from-file\n")
    file.chmod(0o600)
    assert read_password(file, {"EDGE_FER_MQTT_PASSWORD": "from-environment"}) == "from-environment"
    assert read_password(file, {}) == "from-file"
    assert read_password(file, {"EDGE_FER_MQTT_PASSWORD": ""}) == "from-file"
    assert read_password(None, {}) is None


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "cannot be read"), (b"\n", "is empty"), (b"\xff\xfe", "UTF-8")]
)
def test_useless_password_files(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^broker.password_file: .*password.*{problem}"):
        read_password(file, {})


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o640, False), (0o600, False)])
def test_a_file_for_everyone_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, *, warned: bool
) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    file.chmod(mode)
    with caplog.at_level(logging.WARNING):
        assert read_password(file, {}) == "hunter2"
    assert ("chmod" in caplog.text) is warned
    assert "hunter2" not in caplog.text


def test_useless_certificate_files(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(ConfigError, match=r"broker\.ca_file: .*cannot be read"):
        MqttPublisher(BrokerAddress("host", 8883, tls=True), node="n", boot_id="b", ca_file=file)
    file.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"broker\.ca_file: .*PEM"):
        MqttPublisher(BrokerAddress("host", 8883, tls=True), node="n", boot_id="b", ca_file=file)
    with pytest.raises(ConfigError, match=r"broker\.ca_file: .*not encrypted.*mqtts"):
        MqttPublisher(BrokerAddress("host", 1883), node="n", boot_id="b", ca_file=file)


def test_a_password_without_a_user_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    MqttPublisher(BrokerAddress("host", 1883), node="n", boot_id="b", password="hunter2")  # noqa: S106
    assert "names no user" in caplog.text
    assert "hunter2" not in caplog.text
