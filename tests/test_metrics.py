"""Metrics for Prometheus, read back as it reads them."""

from __future__ import annotations

import http.client
import logging
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fleet_story import (
    alert,
    at,
    condition,
    event,
    governor,
    health,
    info,
    nothing_told,
    power,
    problem,
    sees,
    throughput,
)
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from edge_fer.channels import CAMERA_STATUS
from edge_fer.config import load_config
from edge_fer.errors import ConfigError, UnavailableError
from edge_fer.events import Payload, Privacy, SelfTest
from edge_fer.messages import Message, addressed, alert_history, cleared, message
from edge_fer.metrics.collector import Metrics
from edge_fer.metrics.server import CLIENTS_MAX, MetricsServer
from edge_fer.metrics.settings import MetricsSettings

NODE = "lab"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(clock_s=lambda: 1234.5)


@pytest.fixture
def server(metrics: Metrics) -> Iterator[MetricsServer]:
    server = MetricsServer(metrics.registry, "127.0.0.1", 0)
    yield server
    server.stop()


def tell(metrics: Metrics, payload: Payload, part: str = "") -> None:
    metrics.publish(message(payload, NODE, part))


def read(text: str) -> dict[tuple[str, ...], float]:
    """Samples by name and the values of their labels, in the order of the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return read(generate_latest(metrics.registry).decode())


def tell_all(metrics: Metrics) -> None:
    tell(metrics, info())
    tell(metrics, throughput(front=22.5, hall=14.9))
    tell(metrics, power())
    tell(metrics, governor(2))
    tell(metrics, health("boot-a", problem(), outbox_events=3, outbox_oldest_s=12.5, outbox_bytes=900, events_lost=2))
    for camera, state in (("front", condition("online")), ("hall", condition("offline", "unplugged"))):
        tell(metrics, state, camera)
    tell(metrics, sees(2, "sadness", 0.8), "front")
    tell(metrics, sees(None, "unknown"), "hall")
    tell(metrics, Privacy(paused=True, cameras=["hall"], until=None, by="command line", since=at(0)))
    for seq, event_type in enumerate(("start", "update", "update", "end")):
        tell(metrics, event(seq, event_type=event_type), "front")
    tell(metrics, alert(), "crying")
    metrics.publish(alert_history(alert(), NODE))
    metrics.publish(alert_history(alert(state="cleared"), NODE))
    tell(metrics, alert("empty-bed", "cleared"), "empty-bed")
    tell(metrics, SelfTest(id="s", passed=True, reason="", faces=1, confidence=0.9, took_ms=20.0, occurred_at=at(0),
                           boot_id="boot-a"))  # fmt: skip


def test_each_metric_says_what_was_published(metrics: Metrics) -> None:
    tell_all(metrics)
    assert {name: value for name, value in samples(metrics).items() if "state" not in name[0]} == {
        ("edge_fer_info", "Raspberry Pi 5 Model B", "boot-a", "0.1.0"): 1,
        ("edge_fer_camera_fps", "front"): 22.5,
        ("edge_fer_camera_fps", "hall"): 14.9,
        ("edge_fer_camera_frames_total", "front"): 4800,
        ("edge_fer_camera_frames_total", "hall"): 4800,
        ("edge_fer_camera_frames_dropped_total", "front"): 7,
        ("edge_fer_camera_frames_dropped_total", "hall"): 7,
        ("edge_fer_camera_frames_withheld_total", "front"): 3,
        ("edge_fer_camera_frames_withheld_total", "hall"): 3,
        ("edge_fer_latency_seconds", "0.5"): 0.0135,
        ("edge_fer_latency_seconds", "0.95"): 0.0381,
        ("edge_fer_latency_seconds", "0.99"): 0.0595,
        ("edge_fer_cpu_ratio",): pytest.approx(0.417),
        ("edge_fer_resident_memory_bytes",): 127_225_856,
        ("edge_fer_images_per_second",): 37.0,
        ("edge_fer_detections_per_second",): 12.5,
        ("edge_fer_image_joules",): 0.1351,
        ("edge_fer_power_watts",): 5.0,
        ("edge_fer_rail_power_watts", "VDD_IN"): 5.1,
        ("edge_fer_rail_power_watts", "VDD_SOC"): 1.2,
        ("edge_fer_energy_joules_total",): 7200.5,
        ("edge_fer_temperature_celsius", "cpu-thermal"): 61.5,
        ("edge_fer_temperature_celsius", "gpu-thermal"): 58.0,
        ("edge_fer_throttled", "throttled"): 1,
        **{("edge_fer_throttled", flag): 0 for flag in (*_QUIET, "under-voltage")},
        ("edge_fer_throttled_since_boot", "throttled"): 1,
        ("edge_fer_throttled_since_boot", "under-voltage"): 1,
        **{("edge_fer_throttled_since_boot", flag): 0 for flag in _QUIET},
        ("edge_fer_cpu_hertz",): pytest.approx(1.1904e9),
        ("edge_fer_cores_online",): 6,
        ("edge_fer_power_mode", "15W"): 1,
        ("edge_fer_governor_level",): 2,
        ("edge_fer_cameras_idle",): 1,
        ("edge_fer_sample_timestamp_seconds",): 1234.5,
        ("edge_fer_healthy",): 0,
        ("edge_fer_problem", "state-folder"): 1,
        ("edge_fer_uptime_seconds",): 7380,
        ("edge_fer_outbox_events",): 3,
        ("edge_fer_outbox_bytes",): 900,
        ("edge_fer_outbox_oldest_seconds",): 12.5,
        ("edge_fer_events_lost_total",): 2,
        ("edge_fer_telemetry_lost_total",): 0,
        ("edge_fer_camera_restarts_total", "front"): 0,
        ("edge_fer_camera_restarts_total", "hall"): 12,
        ("edge_fer_camera_up", "front"): 1,
        ("edge_fer_camera_up", "hall"): 0,
        ("edge_fer_camera_faces", "front"): 2,
        ("edge_fer_camera_paused", "front"): 0,
        ("edge_fer_camera_paused", "hall"): 1,
        ("edge_fer_alert_active", "crying"): 1,
        ("edge_fer_alert_active", "empty-bed"): 0,
        ("edge_fer_alerts_total", "crying"): 1,
        ("edge_fer_alerts_total", "empty-bed"): 0,
        ("edge_fer_events_total", "front", "start"): 1,
        ("edge_fer_events_total", "front", "update"): 2,
        ("edge_fer_events_total", "front", "end"): 1,
        ("edge_fer_self_test_passed",): 1,
    }


_QUIET = ("frequency-capped", "soft-temperature-limit", "over-current")


def test_a_board_without_sensors_has_no_metric_of_them_and_never_a_zero(metrics: Metrics) -> None:
    tell(metrics, nothing_told())
    assert samples(metrics) == {("edge_fer_cores_online",): 6}


def test_an_image_has_no_joules_where_nobody_was_there(metrics: Metrics) -> None:
    tell(metrics, replace(throughput(), images_per_s=0.0, images_per_s_per_w=0.0, joules_per_image=None))
    known = samples(metrics)
    assert known["edge_fer_images_per_second",] == 0
    assert ("edge_fer_image_joules",) not in known


def test_a_camera_is_in_exactly_one_state(metrics: Metrics) -> None:
    tell_all(metrics)
    on = {name[1:] for name, value in samples(metrics).items() if name[0] == "edge_fer_camera_state" and value == 1}
    assert on == {("front", "online"), ("hall", "offline")}


def test_before_anything_is_known_nothing_is_told(metrics: Metrics) -> None:
    assert samples(metrics) == {}


def test_a_camera_that_was_taken_out_vanishes(metrics: Metrics) -> None:
    tell_all(metrics)
    tell(metrics, info(cameras=("hall",)))
    tell(metrics, throughput(hall=14.9))
    tell(metrics, health(camera_restarts={"hall": 12}))
    assert not [name for name in samples(metrics) if "front" in name]
    assert ("edge_fer_camera_up", "hall") in samples(metrics)


def test_what_is_taken_back_vanishes(metrics: Metrics) -> None:
    tell_all(metrics)
    metrics.publish(cleared(CAMERA_STATUS, NODE, "hall"))
    metrics.publish(Message(f"edge-fer/{NODE}/alert/crying", 1, retain=True, body={}, clears=True))
    known = samples(metrics)
    assert ("edge_fer_camera_up", "hall") not in known
    assert not [name for name in known if "crying" in name]
    assert ("edge_fer_alert_active", "empty-bed") in known


def test_a_problem_that_is_over_vanishes(metrics: Metrics) -> None:
    tell_all(metrics)
    tell(metrics, health())
    assert not [name for name in samples(metrics) if name[0] == "edge_fer_problem"]
    assert samples(metrics)["edge_fer_healthy",] == 1


def test_messages_of_others_and_replies_are_passed_over(metrics: Metrics) -> None:
    for topic in ("homeassistant/device/x/config", "edge-fer", "edge-fer/lab", "edge-fer/lab/rsp/pause", ""):
        metrics.publish(Message(topic, 1, retain=False, body={"x": 1}))
    assert samples(metrics) == {}


def test_labels_with_quotes_and_new_lines_are_escaped(metrics: Metrics) -> None:
    board = 'a "board"\nof \\ mine'
    tell(metrics, info(board=board))
    assert ("edge_fer_info", board, "boot-a", "0.1.0") in samples(metrics)


def test_it_answers_over_http_and_is_gone_after_stop(metrics: Metrics) -> None:
    server = MetricsServer(metrics.registry, "127.0.0.1", 0)
    tell_all(metrics)
    url = f"http://127.0.0.1:{server.port}/metrics"
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert read(answer.read().decode())["edge_fer_camera_fps", "front"] == 22.5
    server.stop()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=60)


def test_clients_that_say_nothing_keep_no_other_waiting(server: MetricsServer) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(CLIENTS_MAX - 1)]
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=60) as answer:
        assert answer.status == 200
    for client in idle:
        client.close()


def test_too_many_clients_are_turned_away(server: MetricsServer) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(CLIENTS_MAX)]
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        http_get(server.port)
    for client in idle:
        client.close()


def http_get(port: int) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    return connection.getresponse()


def test_a_client_that_hangs_up_early_writes_nothing(server: MetricsServer, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert http_get(server.port).status == 200
    assert capfd.readouterr().err == ""


def test_a_port_in_use_is_told_with_its_address(server: MetricsServer, metrics: Metrics) -> None:
    with pytest.raises(UnavailableError, match=f"127.0.0.1, port {server.port} .*in use.*metrics.port"):
        MetricsServer(metrics.registry, "127.0.0.1", server.port)


def test_an_address_that_everyone_reaches_is_warned_of(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    for host, warned in (("0.0.0.0", True), ("127.0.0.1", False)):  # noqa: S104 - on purpose
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            MetricsServer(metrics.registry, host, 0).stop()
        assert ("without a password" in caplog.text) is warned


def test_settings() -> None:
    assert MetricsSettings() == MetricsSettings(port=None, host="127.0.0.1")
    assert MetricsSettings(port=9108, host="::1").host == "::1"
    for wrong in ({"port": 0}, {"port": 65536}, {"port": "9108"}, {"host": "localhost"}, {"address": "::1"}):
        with pytest.raises(ValidationError):
            MetricsSettings.model_validate(wrong)


def test_bodies_of_another_shape_are_no_reason_to_fail(metrics: Metrics) -> None:
    """publish() only remembers: there is nothing in it that could raise."""
    metrics.publish(addressed(CAMERA_STATUS, {}, NODE, "front"))
    assert samples(metrics)["edge_fer_camera_up", "front"] == 0


def test_a_daemon_without_metrics_imports_nothing_of_prometheus() -> None:
    check = "import sys, edge_fer.config; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_wrong_key_is_told_with_the_right_one(tmp_path: Path) -> None:
    file = tmp_path / "edge-fer.toml"
    file.write_text("camera.front.uri = 'sample:'\n[metrics]\nprot = 9108\nhost = 'localhost'\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    assert "metrics.prot: unknown key; did you mean 'port'?" in str(caught.value)
    assert "metrics.host: found 'localhost'; right is an IP address" in str(caught.value)
