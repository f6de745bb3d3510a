from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_fer.capture.picture_check import PictureFacts
from edge_fer.capture.watch import CameraWatch, Change, WatchSettings

GOOD, SAME = PictureFacts(same=False, brightness=90, contrast=40), PictureFacts(same=True, brightness=90, contrast=40)
BLACK = PictureFacts(same=False, brightness=0, contrast=0)
FACTS = {"good": GOOD, "same": SAME, "black": BLACK}


class Story:
    """Tells a watch what happens, in seconds, and keeps what it makes of it."""

    def __init__(self, *, supervised: bool = True, **settings: float) -> None:
        self.watch = CameraWatch(WatchSettings(**settings), supervised=supervised)
        self.now_ns = 0
        self.changes: list[Change] = []
        self.handed_on = 0

    def at(self, second: float) -> Story:
        self.now_ns = round(second * 1e9)
        return self

    def _note(self, change: Change | None) -> Story:
        if change:
            self.changes.append(change)
        return self

    def begin(self) -> Story:
        self.watch.begin(self.now_ns)
        return self

    def picture(self, facts: PictureFacts = GOOD) -> Story:
        self._note(self.watch.picture(self.now_ns, facts))
        self.handed_on += self.watch.hands_on
        return self

    def check(self) -> Story:
        return self._note(self.watch.check(self.now_ns))

    def end(self, reason: str = "connection refused") -> Story:
        return self._note(self.watch.end(self.now_ns, reason))

    def pause(self, reason: str = "paused by a carer") -> Story:
        return self._note(self.watch.pause(self.now_ns, reason))

    def resume(self) -> Story:
        return self._note(self.watch.resume(self.now_ns))

    @property
    def told(self) -> list[str]:
        return [f"{change.since_ns / 1e9:g} {change.state}: {change.reason}" for change in self.changes]


def test_a_camera_is_online_with_its_first_picture_and_offline_when_it_ends() -> None:
    story = Story().at(1).begin().check().at(2).picture().at(3).picture().end("unplugged")
    assert story.told == ["2 online: pictures arrive", "3 offline: unplugged"]
    assert story.watch.worked_s == 1


def test_a_camera_that_is_lost_stays_offline_until_there_is_a_picture_and_the_same_reason_is_told_once() -> None:
    story = Story().begin().end()
    for second in (10, 20, 30):
        story.at(second).begin().check().end("no route to host" if second == 20 else "connection refused")
    story.at(40).begin().at(42).picture()
    assert story.told == [
        "0 offline: connection refused",
        "0 offline: no route to host",  # since when it is offline, not since when for this reason
        "0 offline: connection refused",
        "42 online: pictures arrive",
    ]


def test_a_slow_camera_has_its_own_time_to_connect() -> None:
    story = Story(connect_timeout_s=40, stall_timeout_s=2).begin().at(39).check().picture().at(40).check()
    assert story.told == ["39 online: pictures arrive"]
    story.at(41).check()
    assert story.told[1:] == ["41 stalled: no picture for 2 s"]


def test_an_attempt_without_a_picture_is_given_up() -> None:
    story = Story().begin().at(14.9).check()
    assert not story.watch.given_up
    story.at(15).check()
    assert story.watch.given_up
    story.at(16).end("killed").at(20).begin().at(36).check().end()
    assert story.told == ["15 offline: no first picture within 15 s"]


def test_a_stalled_camera_stays_stalled_until_the_next_attempt_finds_out_more() -> None:
    story = Story().begin().picture().at(5).check().check().at(6).end("killed")
    assert story.told[1:] == ["5 stalled: no picture for 5 s"]
    again = Story().begin().picture().at(5).check().end()
    story.at(8).begin().at(9).picture()
    again.at(8).begin().at(9).end()
    assert story.told[2:] == ["9 online: pictures arrive"]
    assert again.told[2:] == ["9 offline: connection refused"]


def test_a_picture_that_comes_after_its_attempt_was_given_up_is_not_looked_at() -> None:
    story = Story().begin().picture().at(5).check().at(6).picture()
    assert (story.handed_on, story.watch.state) == (1, "stalled")


def test_a_driver_that_does_not_return_is_told_and_what_it_was_about_when_it_is_back() -> None:
    story = Story().begin().at(15).check().at(19).check()
    assert story.told == ["15 offline: no first picture within 15 s"]
    story.at(20).check().at(900).check()
    assert story.told[1:] == ["20 stalled: no first picture within 15 s, and its driver does not return"]
    story.at(1000).end()
    assert story.told[2:] == ["1000 offline: no first picture within 15 s"]


def test_pictures_of_a_frozen_or_dark_camera_are_withheld() -> None:
    story = Story(frozen_after_s=2, dark_after_s=2).begin()
    for tenth in range(150):
        story.at(tenth / 10).picture(SAME if 30 <= tenth < 60 else BLACK if 90 <= tenth < 120 else GOOD)
    assert [text.split(":")[0] for text in story.told] == [
        *("0 online", "4.9 frozen", "7 online"),  # frozen since 2.9 s, other pictures from 6 s
        *("11 dark", "13 online"),
    ]
    assert story.handed_on == 150 - 21 - 20


def test_a_clip_may_take_its_time_and_stand_still() -> None:
    story = Story(supervised=False).begin().at(100).check()
    for second in range(101, 200):
        story.at(second).picture(BLACK)
    story.at(1000).check().picture(SAME).end("the clip has ended")
    assert story.told == ["101 online: pictures arrive", "1000 offline: the clip has ended"]
    assert story.handed_on == 100


def test_a_pause_is_told_when_the_device_is_closed_and_not_before() -> None:
    story = Story().begin().picture().at(10).pause().pause().at(11).check()
    assert story.told == ["0 online: pictures arrive"]
    assert (story.watch.given_up, story.watch.closed) == (True, False)
    story.picture().at(12).end("aborted")
    assert story.told[1:] == ["12 disabled: paused by a carer"]
    assert (story.watch.paused, story.watch.closed, story.handed_on) == (True, True, 1)


def test_a_closed_camera_is_paused_at_once_and_a_camera_may_be_paused_from_the_start() -> None:
    assert Story().at(1).pause().told == ["1 disabled: paused by a carer"]
    assert Story().begin().end().at(5).pause().told[1:] == ["5 disabled: paused by a carer"]


def test_another_reason_for_a_pause_is_told() -> None:
    story = Story().at(1).pause("until noon").at(2).pause("until noon").pause("until it is ended")
    assert story.told == ["1 disabled: until noon", "1 disabled: until it is ended"]


def test_after_a_pause_the_camera_is_opened_again() -> None:
    story = Story().pause().at(5).resume().resume().begin().at(6).picture()
    assert story.told[1:] == ["5 connecting: enabled again", "6 online: pictures arrive"]


def test_a_pause_that_ends_before_the_device_was_closed_leaves_the_camera_connecting() -> None:
    story = Story().begin().picture().pause().resume().at(1).end("aborted").begin().at(2).picture()
    assert story.told == ["0 online: pictures arrive", "1 connecting: enabled again", "2 online: pictures arrive"]


def test_a_hanging_driver_cannot_be_proven_closed_and_that_is_told() -> None:
    story = Story().begin().picture().at(10).pause().at(15).check().at(700).check()
    assert story.told[1:] == [
        "15 stalled: to be closed (paused by a carer), but its driver does not return: it may still be open"
    ]
    assert not story.watch.closed
    story.at(800).end("aborted")
    assert story.told[2:] == ["800 disabled: paused by a carer"]


def test_the_reason_of_a_camera_that_hangs_already_turns_to_the_pause_at_once() -> None:
    story = Story().begin().picture().at(5).check().at(10).check().at(20).pause().check()
    assert "to be closed" in story.told[-1]
    story.resume().at(21).check()
    assert story.told[-1] == "5 stalled: enabled again, and its driver does not return"


@pytest.mark.parametrize(
    ("key", "value"),
    [("connect_timeout_s", 0.5), ("stall_timeout_s", 601.0), ("frozen_after_s", -1.0), ("max_fps", 0.0)],
)
def test_settings_out_of_their_limits_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValidationError, match=key):
        WatchSettings(**{key: value})


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin or picture", "good", "same", "black", "check", "end", "pause", "resume"]),
        st.sampled_from([0.0, 0.04, 0.3, 1.1, 4.0, 6.0, 16.0, 700.0]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=80,
)


def told(steps: list[tuple[str, float, str]], *, supervised: bool) -> Story:
    """Any order of what can happen, as a reader would tell it."""
    story = Story(supervised=supervised)
    for step, later_s, reason in steps:
        story.now_ns += round(later_s * 1e9)
        if step == "begin or picture" and story.watch.closed and not story.watch.paused:
            story.begin()
        elif step in FACTS and not story.watch.closed:
            story.picture(FACTS[step])
        elif step == "end" and not story.watch.closed:
            story.end(reason)
        elif step == "check":
            story.check()
        elif step == "pause":
            story.pause(reason)
        elif step == "resume":
            story.resume()
        assert story.watch.hands_on <= (story.watch.state == "online")
        assert (story.watch.state == "disabled") <= (story.watch.closed and story.watch.paused)
        assert not (story.watch.closed and story.watch.paused and story.watch.state != "disabled")
    return story


@given(STEPS, st.booleans())
def test_every_change_is_one_and_has_a_reason_and_a_time(steps: list[tuple[str, float, str]], supervised: bool) -> None:  # noqa: FBT001
    changes = told(steps, supervised=supervised).changes
    assert all(change.reason for change in changes)
    for before, now in pairwise(changes):
        assert (before.state, before.reason) != (now.state, now.reason)
        assert before.since_ns <= now.since_ns
        assert (before.state == now.state) <= (before.since_ns == now.since_ns)


@given(STEPS, st.booleans())
def test_whatever_happened_a_good_camera_comes_online(steps: list[tuple[str, float, str]], supervised: bool) -> None:  # noqa: FBT001
    story = told(steps, supervised=supervised)
    story.resume()
    if not story.watch.closed:
        story.end()
    story.begin()
    for _ in range(30):
        story.now_ns += 100_000_000
        story.picture().check()
    assert (story.watch.state, story.watch.hands_on) == ("online", True)


@given(STEPS)
def test_whatever_happened_a_silent_camera_is_not_online_for_long(steps: list[tuple[str, float, str]]) -> None:
    story = told(steps, supervised=True)
    story.now_ns += 16 * 10**9
    story.check()
    assert story.watch.state not in ("online", "frozen", "dark")
    story.now_ns += 6 * 10**9
    if story.check().watch.given_up:
        assert story.watch.state == "stalled"


@given(STEPS)
def test_whatever_happened_a_pause_ends_with_a_closed_camera(steps: list[tuple[str, float, str]]) -> None:
    story = told(steps, supervised=True)
    story.pause("for privacy")
    if not story.watch.closed:
        story.end()
    assert (story.watch.state, story.watch.closed, story.changes[-1].reason) == ("disabled", True, "for privacy")
