from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from daemonsite import START_S, Site, terminate
from realbrokers import wait_until

from edge_fer.messages import Message
from edge_fer.mqtt.incoming import Incoming
from edge_fer.retained import Leftovers

BASE = "edge-fer/lab"


class Heard:
    """A broker's part: what it delivers, and what it is told."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        self.leftovers = Leftovers("lab", ["front", "back-door"], ["crying"], self.said.append)

    def deliver(self, topic: str, payload: bytes = b"{}", *, retained: bool = True) -> None:
        for where, handler in self.leftovers.subscriptions.items():
            if paho.topic_matches_sub(where, topic):
                handler(Incoming(topic, payload, retained))

    @property
    def cleared(self) -> list[str]:
        for message in self.said:
            assert (message.to_json(), message.retain, message.qos, message.kept) == (b"", True, 1, "newest")
        return [message.topic for message in self.said]


def test_what_belongs_to_no_camera_or_rule_is_taken_back() -> None:
    heard = Heard()
    for below in ("camera/hall/status", "camera/hall/state", "alert/gone"):
        heard.deliver(f"{BASE}/{below}")
    assert heard.cleared == [f"{BASE}/{below}" for below in ("camera/hall/status", "camera/hall/state", "alert/gone")]


def test_what_belongs_to_one_stays() -> None:
    heard = Heard()
    for below in ("camera/front/status", "camera/front/state", "camera/back-door/state", "alert/crying"):
        heard.deliver(f"{BASE}/{below}")
    assert heard.cleared == []


def test_names_that_only_begin_or_end_alike_are_told_apart() -> None:
    heard = Heard()
    heard.deliver(f"{BASE}/camera/front-2/state")
    heard.deliver(f"{BASE}/camera/state/state")
    heard.deliver(f"{BASE}/camera/status/state")
    heard.deliver(f"{BASE}/alert/alert")
    assert len(heard.cleared) == 4


@pytest.mark.parametrize(
    "topic",
    ["edge-fer/other/camera/hall/state", f"{BASE}/camera/hall/events", f"{BASE}/alert/gone/events", f"{BASE}/health"],
)
def test_nothing_else_is_touched(topic: str) -> None:
    heard = Heard()
    for handler in heard.leftovers.subscriptions.values():
        handler(Incoming(topic, b"{}", retained=True))
    assert heard.cleared == []


def test_neither_the_echo_nor_the_news_of_somebody_else_starts_a_quarrel() -> None:
    heard = Heard()
    where = f"{BASE}/alert/gone"
    heard.deliver(where, retained=False)
    heard.deliver(where, b"")
    assert heard.cleared == []
    for _ in range(3):
        heard.deliver(where)  # as "retain as published" makes it look
    assert heard.cleared == [where]
    heard.leftovers.opened()
    heard.deliver(where)
    assert heard.cleared == [where, where]


def test_a_reload_takes_back_what_it_removes() -> None:
    heard = Heard()
    heard.leftovers.reload(["front"], ["crying", "more"])
    assert heard.cleared == [f"{BASE}/camera/back-door/status", f"{BASE}/camera/back-door/state"]
    heard.deliver(f"{BASE}/alert/more")
    assert len(heard.cleared) == 2


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


def retained_below(site: Site) -> set[str]:
    """Topics that somebody who comes now is told something on."""
    late = site.subscribe()
    wait_until(lambda: late.on(f"{BASE}/status"))
    late.close()
    return {message.topic.removeprefix(f"{BASE}/") for message in late.messages if message.retained}


OF_THE_HALL = {"camera/hall/status", "camera/hall/state", "alert/gone"}


def test_a_camera_and_a_rule_that_are_gone_after_a_restart_leave_nothing_behind(site: Site) -> None:
    rules = '[rule.stays]\nkind = "camera"\n'
    site.configure({"front": "sample:?loop=1", "hall": "sample:?loop=1"}, rules + '[rule.gone]\nkind = "camera"\n')
    daemon = site.start()
    wait_until(lambda: all(site.heard.on(f"{BASE}/{below}") for below in OF_THE_HALL), START_S)
    terminate(daemon)
    assert retained_below(site) >= OF_THE_HALL
    site.configure({"front": "sample:?loop=1"}, rules)
    daemon = site.start()
    wait_until(lambda: not retained_below(site) & OF_THE_HALL, START_S)
    assert retained_below(site) >= {"camera/front/status", "camera/front/state", "alert/stays", "info"}
    terminate(daemon)
