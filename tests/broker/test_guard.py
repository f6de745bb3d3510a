"""Who keeps a node that two instances claim."""

from __future__ import annotations

import json
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from edge_fer.messages import message
from edge_fer.mqtt.guard import Guard


class World:
    """Instances that hear each other with delays, in the order of each sender, as over a broker."""

    def __init__(self, *started_s: float) -> None:
        self.now_s = max(started_s)
        self.guards = [
            Guard("kitchen", f"boot-{index}", host=f"host-{index}", uptime_s=lambda since=since: self.now_s - since)
            for index, since in enumerate(started_s)
        ]
        self.on_the_way: list[deque[bytes]] = [deque() for _ in started_s]  # by sender

    def claims(self, index: int) -> None:
        self.on_the_way[index].append(message(self.guards[index].claim(), "kitchen").to_json())

    def delivers(self, sender: int) -> None:
        payload = self.on_the_way[sender].popleft()
        for index, guard in enumerate(self.guards):
            if answer := guard.hear(payload):
                self.on_the_way[index].append(message(answer, "kitchen").to_json())

    @property
    def left(self) -> list[int]:
        return [index for index, guard in enumerate(self.guards) if guard.fatal]


UPTIME_S = st.floats(0, 100)
STEPS = st.lists(st.tuples(st.sampled_from([0, 1]), st.booleans(), st.floats(0, 20)), max_size=30)


@given(UPTIME_S, UPTIME_S, STEPS)
def test_of_two_exactly_one_keeps_the_node_in_whatever_order_messages_come(
    first_s: float, second_s: float, steps: list[tuple[int, bool, float]]
) -> None:
    world = World(first_s, second_s)
    world.claims(0)
    world.claims(1)
    for who, claims_again, passes_s in steps:
        world.now_s += passes_s
        if claims_again:
            world.claims(who)
        elif world.on_the_way[who]:
            world.delivers(who)
        assert len(world.left) <= 1
    for _ in range(200):
        for who in (0, 1):
            if world.on_the_way[who]:
                world.delivers(who)
    assert not any(world.on_the_way), "they answer each other for ever"
    assert len(world.left) == 1


@given(st.floats(1, 1e6), st.booleans(), st.permutations([0, 1, 0, 1]))
def test_the_older_one_keeps_it(age_s: float, first_is_older: bool, order: list[int]) -> None:  # noqa: FBT001 - given
    world = World(0 if first_is_older else age_s, age_s if first_is_older else 0)
    world.claims(0)
    world.claims(1)
    for who in order * 5:
        if world.on_the_way[who]:
            world.delivers(who)
    assert not any(world.on_the_way)
    assert world.left == [1 if first_is_older else 0]


def test_a_newcomer_leaves_although_the_older_one_had_claimed_long_before() -> None:
    for started in ((0, 50), (50, 0)):
        world = World(*started)
        newcomer = started.index(50)
        world.claims(newcomer)
        for _ in range(3):
            for who in (0, 1):
                if world.on_the_way[who]:
                    world.delivers(who)
        assert world.left == [newcomer]


def test_of_the_same_age_the_smaller_boot_id_keeps_it() -> None:
    world = World(5, 5)
    world.claims(0)
    world.claims(1)
    for who in (1, 0, 0):
        world.delivers(who)
    assert world.left == [1]


def test_the_reason_names_both_and_what_to_change() -> None:
    world = World(0, 50)
    world.claims(1)
    world.delivers(1)
    world.delivers(0)
    told = world.guards[1].fatal
    for part in ("'kitchen'", "boot-0", "boot-1", "host-0", "host-1", 'node = "..."'):
        assert part in told
    assert "\n" not in told
    [notice] = world.guards[0].notices
    assert "boot-1 on host host-1" in notice


def guard() -> Guard:
    return Guard("kitchen", "boot-a", host="here", uptime_s=lambda: 10.0)


def claim(**more: object) -> bytes:
    return json.dumps({"boot_id": "boot-b", "uptime_s": 1e6, "host": "there", **more}).encode()


def test_own_claims_and_retained_ones_are_passed_over() -> None:
    one = guard()
    assert one.hear(claim(boot_id="boot-a")) is None
    assert one.hear(claim(), retained=True) is None
    assert not one.fatal
    one.hear(claim())
    assert one.fatal


def test_rubbish_is_passed_over() -> None:
    for payload in (
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 1000,
        claim(host="x" * 3000),
        claim(uptime_s="1e6"),
        claim(uptime_s=True),
        claim(uptime_s=-1),
        claim(uptime_s=float("inf")),
        claim(uptime_s=float("nan")),
        claim(uptime_s=10**400),
        claim(boot_id=7),
        claim(boot_id="line\nbreak"),
        claim(rejects=["boot-a"]),
    ):
        one = guard()
        assert one.hear(payload) is None, payload
        assert not one.fatal


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(repr).map(str.encode))
def test_no_payload_raises(payload: bytes) -> None:
    one = guard()
    assert one.hear(payload) is None
    assert not one.fatal


def test_a_host_that_was_chosen_to_forge_the_log_does_not() -> None:
    one = guard()
    one.hear(claim(host="there\nERROR all is lost"))
    assert "\n" not in one.fatal


def test_a_flood_of_claims_is_not_answered_with_a_flood() -> None:
    one = guard()
    answers = [one.hear(claim(boot_id=f"boot-{number + 1000}", uptime_s=1)) for number in range(500)]
    assert sum(answer is not None for answer in answers) == 20
