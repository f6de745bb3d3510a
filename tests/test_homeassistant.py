from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_fer.board_watch import Senses
from edge_fer.config import Config
from edge_fer.errors import ConfigError
from edge_fer.events import NodeInfo
from edge_fer.homeassistant.announcer import STEP_NS, Announcer
from edge_fer.homeassistant.birth import Birth
from edge_fer.homeassistant.discovery import discovery, entities
from edge_fer.homeassistant.presence import HomeAssistant
from edge_fer.homeassistant.settings import HomeAssistantSettings
from edge_fer.messages import Message
from edge_fer.mqtt.incoming import Incoming

INFO = NodeInfo(
    version="1.2.3", boot_id="b", board="Jetson Nano", labels=[], models=[], cameras=["front"], config_sha256=""
)
TOPIC = "homeassistant/device/edge-fer-lab/config"
NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Commands:
    """As far as Home Assistant cares for them."""

    allow: tuple[str, ...]


def config(*cameras: str, node: str = "lab", **more: Any) -> Config:
    tables = {name: {"uri": "sample:"} for name in cameras or ("front",)}
    return Config.model_validate({"node": node, "camera": tables, **more})


def components(message: Message) -> Mapping[str, Any]:
    return message.body["components"]


def published(message: Message) -> Incoming:
    return Incoming(message.topic, message.to_json(), retained=True)


def announcer(of: Config, said: list[Message]) -> Announcer:
    made = Announcer(discovery(of, INFO), of.node, said.append)
    made.start()
    return made


def test_the_node_is_announced_as_one_device_by_one_retained_message() -> None:
    message = discovery(config(), INFO)
    assert (message.topic, message.qos, message.retain, message.kept) == (TOPIC, 1, True, "newest")
    assert message.body["device"] == {
        "identifiers": ["edge-fer-lab"],
        "name": "edge-fer lab",
        "manufacturer": "edge-fer",
        "model": "Jetson Nano",
        "sw_version": "1.2.3",
    }
    assert message.body["origin"] == {"name": "edge-fer", "sw_version": "1.2.3"}


def test_the_same_configuration_is_announced_by_the_same_bytes() -> None:
    assert discovery(config(), INFO).to_json() == discovery(config(), INFO).to_json()


def test_every_camera_rule_and_the_node_have_their_entities() -> None:
    rules = {"crying": {"kind": "expression", "expressions": ["sadness"]}, "dead": {"kind": "camera"}}
    told = components(discovery(config("front", "back-door", rule=rules), INFO))
    of_cameras = [f"camera_{name}_{what}" for name in ("front", "back-door") for what in _OF_A_CAMERA]
    assert list(told) == [*of_cameras, "alert_crying", "alert_dead", *_OF_THE_NODE]


def test_a_board_shows_what_it_has_a_sensor_for_and_nothing_that_will_never_be_known() -> None:
    def keys(**senses: bool) -> set[str]:
        return set(components(discovery(config(), INFO, Senses(**senses))))

    bare = keys()
    assert not bare & {"power", "energy", "efficiency", "temperature", "throttled", "clock", "power-mode"}
    assert keys(power=True) - bare == {"power", "energy", "efficiency"}
    assert keys(temperature=True, clock=True) - bare == {"temperature", "clock"}
    assert keys(throttling=True) - bare == {"throttled"}
    assert keys(mode=True) - bare == {"power-mode"}


def test_energy_can_be_added_to_the_energy_dashboard() -> None:
    told = components(discovery(config(), INFO, Senses(power=True)))
    keys = ("device_class", "state_class", "unit_of_measurement", "state_topic")
    topic = "edge-fer/lab/telemetry/power"
    assert [told["energy"][key] for key in keys] == ["energy", "total_increasing", "kWh", topic]
    assert [told["power"][key] for key in keys] == ["power", "measurement", "W", topic]
    assert "entity_category" not in told["energy"], "the dashboard does not offer diagnostics"


def test_a_sensor_that_is_found_late_shows_up_late_and_survives_a_reload() -> None:
    said: list[Message] = []
    presence = HomeAssistant(config(), INFO, said.append, lambda: None)
    presence.start()
    presence.use_senses(Senses())
    assert len(said) == 1
    presence.use_senses(Senses(power=True))
    presence.reload(config("front", "hall"), INFO)
    assert ["energy" in components(one) for one in said] == [False, True, True]
    assert "camera_hall_faces" in components(said[-1])


def test_the_sensors_of_another_board_are_taken_back() -> None:
    said: list[Message] = []
    presence = HomeAssistant(config(), INFO, said.append, lambda: None, Senses(temperature=True))
    presence.start()
    presence.subscriptions[TOPIC](published(discovery(config(), INFO, Senses(power=True, temperature=True))))
    presence.turn(0)
    gone = [key for key, one in components(said[-1]).items() if set(one) == {"platform"}]
    assert gone == ["power", "energy", "efficiency"]


def test_an_alert_that_is_off_is_never_shown_as_safe() -> None:
    told = components(discovery(config(rule={"crying": {"kind": "expression", "expressions": ["sadness"]}}), INFO))
    assert told["alert_crying"]["device_class"] == "problem"


_OF_A_CAMERA = ("expression", "faces", "event", "status", "fps")
_OF_THE_NODE = ("health", "self-test", "outbox", "uptime", "cpu", "memory", "images", "governor", "privacy")


def test_names_that_look_alike_never_share_an_entity() -> None:
    ids = [
        told["unique_id"]
        for node, cameras in (("a", ["b-c", "alert", "b"]), ("a-b", ["c", "health"]), ("a-b-c", ["c"]))
        for told in components(
            discovery(config(*cameras, node=node, rule={"expression": {"kind": "camera"}}), INFO)
        ).values()
    ]
    assert len(set(ids)) == len(ids)


def test_all_is_unavailable_with_the_node_and_what_a_camera_sees_with_the_camera() -> None:
    told = components(discovery(config(rule={"crying": {"kind": "camera"}}), INFO))
    with_camera = [key for key, one in told.items() if len(one["availability"]) == 2]
    assert with_camera == ["camera_front_expression", "camera_front_faces"]
    for one in told.values():
        assert one["availability"][0] == {"topic": "edge-fer/lab/status"}
        assert one["availability_mode"] == "all"
    assert told["camera_front_faces"]["availability"][1]["topic"] == "edge-fer/lab/camera/front/status"


@pytest.mark.parametrize(("period_s", "expiry_s"), [(0.5, 10), (10.0, 30), (3600.0, 10800)])
def test_a_sample_is_forgotten_after_three_periods(period_s: float, expiry_s: int) -> None:
    told = components(discovery(config(telemetry_s=period_s), INFO))
    assert told["cpu"]["expire_after"] == told["camera_front_fps"]["expire_after"] == expiry_s
    assert "expire_after" not in told["camera_front_expression"]


def test_privacy_is_only_shown_until_commands_are_allowed() -> None:
    shown = components(discovery(config(), INFO))["privacy"]
    assert shown["platform"] == "binary_sensor"
    assert "command_topic" not in shown


@pytest.mark.parametrize(
    ("allowed", "platform"),
    [(("pause", "resume", "reload"), "switch"), (("pause",), "binary_sensor"), ((), "binary_sensor")],
)
def test_privacy_is_a_switch_where_both_its_commands_are_allowed(allowed: tuple[str, ...], platform: str) -> None:
    (told,) = (one for key, one in components(discovery(with_commands(*allowed), INFO)).items() if "privacy" in key)
    assert told["platform"] == platform
    if platform == "switch":
        assert told["command_topic"] == "edge-fer/lab/cmd/pause"
        assert [json.loads(told[key]) for key in ("payload_on", "payload_off")] == [{"paused": True}, {"paused": False}]
        assert told["retain"] is False


def with_commands(*allowed: str) -> Config:
    class WithCommands(Config):
        commands: Any = Commands(allowed)

    return WithCommands.model_validate({"node": "lab", "camera": {"front": {"uri": "sample:"}}})


def test_the_switch_takes_the_place_of_what_only_showed_the_pause() -> None:
    said: list[Message] = []
    one = announcer(with_commands("pause", "resume"), said)
    one.handle(published(discovery(config(), INFO)))
    one.turn(0)
    assert one.gone == {"privacy": "binary_sensor"}


def test_keys_of_entities_are_such_that_they_can_be_taken_back() -> None:
    said: list[Message] = []
    of = config(*(f"camera-{number}" for number in range(20)), rule={"a-rule": {"kind": "camera"}})
    other = announcer(config("other"), said)
    other.handle(published(discovery(of, INFO)))
    other.turn(0)
    own = {entity.key for entity in entities(config("other"))}
    assert set(other.gone) == {entity.key for entity in entities(of)} - own


def test_what_is_gone_is_told_so_until_home_assistant_has_started_once() -> None:
    said: list[Message] = []
    one = announcer(config("front"), said)
    one.handle(published(discovery(config("front", "hall"), INFO)))
    one.turn(0)
    gone = [key for key in components(discovery(config("hall"), INFO)) if key.startswith("camera_")]
    assert {key: components(said[-1])[key] for key in gone} == {
        "camera_hall_expression": {"platform": "sensor"},
        "camera_hall_faces": {"platform": "sensor"},
        "camera_hall_event": {"platform": "event"},
        "camera_hall_status": {"platform": "sensor"},
        "camera_hall_fps": {"platform": "sensor"},
    }
    one.born(5 * NS_PER_S)  # it may remember them from its last run: shown once more, then taken back, then forgotten
    assert all(components(said[-1])[key]["unique_id"] == f"edge-fer_lab_{key}" for key in gone)
    one.turn(5 * NS_PER_S + STEP_NS - 1)
    assert len(said) == 3
    one.turn(5 * NS_PER_S + STEP_NS)
    assert [len(components(said[-1])[key]) for key in gone] == [1] * len(gone)
    one.turn(5 * NS_PER_S + 2 * STEP_NS)
    assert said[-1] == discovery(config("front"), INFO)
    one.born(99 * NS_PER_S)
    one.turn(200 * NS_PER_S)
    assert len(said) == 5


def test_what_the_run_before_could_not_take_back_is_not_forgotten() -> None:
    said: list[Message] = []
    before = announcer(config("front"), said)
    before.handle(published(discovery(config("front", "hall"), INFO)))
    before.turn(0)
    after = announcer(config("front"), said)
    after.handle(published(said[-2]))
    after.turn(0)
    assert after.gone == before.gone
    assert said[-1] == said[-3]


def test_a_reload_takes_back_what_it_removes_and_gives_back_what_it_adds() -> None:
    said: list[Message] = []
    one = announcer(config("front", "hall"), said)
    one.replace(discovery(config("front"), INFO))
    assert components(said[-1])["camera_hall_faces"] == {"platform": "sensor"}
    one.replace(discovery(config("front", "hall"), INFO))
    assert said[-1] == said[0]
    assert not one.gone


def test_an_echo_of_its_own_message_is_no_news() -> None:
    said: list[Message] = []
    one = announcer(config(), said)
    one.handle(published(said[0]))
    one.handle(Incoming(TOPIC, b"", retained=True))
    one.handle(Incoming(TOPIC, discovery(config("hall"), INFO).to_json(), retained=False))
    one.turn(0)
    assert len(said) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.sampled_from(["sensor", "event"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["components", "platform", "x_y", "Ä"]), inner)
    ),
)


@given(st.one_of(st.binary(max_size=64), json_values.map(lambda value: json.dumps(value).encode())))
def test_whatever_anybody_leaves_there_is_borne(payload: bytes) -> None:
    said: list[Message] = []
    one = announcer(config(), said)
    one.handle(Incoming(TOPIC, payload, retained=True))
    one.turn(0)
    assert all(key == "x_y" or key in ("components", "platform") for key in one.gone)
    assert len(said) == 1 + bool(one.gone)


def test_deeply_nested_json_is_borne() -> None:
    said: list[Message] = []
    one = announcer(config(), said)
    one.handle(Incoming(TOPIC, b'{"components":' + b"[" * 200_000, retained=True))
    one.turn(0)
    assert len(said) == 1


def test_states_are_sent_again_a_little_after_home_assistant_has_started() -> None:
    born: list[int] = []
    birth = Birth(born.append, jitter_s=10, draw=lambda: 0.5)
    birth.turn(0)
    birth.handle(Incoming("homeassistant/status", b"online", retained=False))
    birth.turn(1 * NS_PER_S)
    birth.handle(Incoming("homeassistant/status", b"online", retained=False))  # once more is not twice
    birth.turn(6 * NS_PER_S - 1)
    assert born == []
    birth.turn(6 * NS_PER_S)
    birth.turn(60 * NS_PER_S)
    assert born == [6 * NS_PER_S]


@pytest.mark.parametrize(("payload", "retained"), [(b"offline", False), (b"online", True), (b"", False)])
def test_only_a_start_of_home_assistant_counts(payload: bytes, retained: bool) -> None:  # noqa: FBT001
    born: list[int] = []
    birth = Birth(born.append, jitter_s=0)
    birth.handle(Incoming("homeassistant/status", payload, retained=retained))
    birth.turn(0)
    assert born == []


def test_switched_off_it_says_nothing_and_takes_back_what_it_said_before() -> None:
    said: list[Message] = []
    presence = HomeAssistant(config(homeassistant={"enabled": False}), INFO, said.append, lambda: None)
    presence.start()
    presence.turn(0)
    assert said == []
    assert list(presence.subscriptions) == [TOPIC]
    presence.subscriptions[TOPIC](published(discovery(config(), INFO)))
    assert [(message.topic, message.to_json(), message.retain) for message in said] == [(TOPIC, b"", True)]
    presence.subscriptions[TOPIC](Incoming(TOPIC, b"", retained=True))
    assert len(said) == 1


def test_a_reload_stays_on_the_topic_that_home_assistant_knows() -> None:
    said: list[Message] = []
    presence = HomeAssistant(config("front", "hall"), INFO, said.append, lambda: None)
    presence.start()
    presence.reload(config("front", homeassistant={"prefix": "other"}), INFO)
    assert [message.topic for message in said] == [TOPIC, TOPIC]
    assert components(said[-1])["camera_hall_faces"] == {"platform": "sensor"}


def test_the_manual_shows_every_entity_by_its_id() -> None:
    manual = (Path(__file__).parents[1] / "docs" / "home-assistant.md").read_text(encoding="utf-8")
    told = components(discovery(config("front", rule={"somebody": {"kind": "camera"}}), INFO))
    missing = [one["default_entity_id"] for one in told.values() if f"`{one['default_entity_id']}`" not in manual]
    assert missing == []


def test_switched_on_it_announces_and_refreshes() -> None:
    said: list[Message] = []
    refreshed: list[bool] = []
    of = config(homeassistant={"prefix": "ha/main", "birth_jitter_s": 0.0})
    presence = HomeAssistant(of, INFO, said.append, lambda: refreshed.append(True))
    presence.start()
    assert said[0].topic == "ha/main/device/edge-fer-lab/config"
    assert list(presence.subscriptions) == [said[0].topic, "ha/main/status"]
    presence.subscriptions["ha/main/status"](Incoming("ha/main/status", b"online", retained=False))
    presence.turn(0)
    assert refreshed == [True]


@pytest.mark.parametrize("prefix", ["", "a/+", "#", "/a", "a/", "a b", "$SYS/ä"])
def test_a_prefix_that_is_no_topic_is_refused(prefix: str) -> None:
    with pytest.raises((ValueError, ConfigError)):
        HomeAssistantSettings(prefix=prefix)
