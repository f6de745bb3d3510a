from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from story import SCENES, Scene, Story, play, rule

from edge_fer.decide import DecideSettings
from edge_fer.errors import ConfigError, UnavailableError, UsageError
from edge_fer.events import Alert, ExpressionEvent
from edge_fer.labels import EXPRESSIONS
from edge_fer.look import Observation, Tick
from edge_fer.rules.settings import Rule
from edge_fer.scores.record import ScoreRecorder, as_line, open_recording, recording_header
from edge_fer.scores.recording import ScoreFile
from edge_fer.scores.replay import load_rules, replay, show_replay

RULES = {
    "cry": rule(kind="expression", expressions=["sadness", "fear"], window_s=5, share=0.4, text="Look after her."),
    "view": rule(kind="expression", expressions=["happiness"], window_s=8, share=0.5, per="camera"),
    "empty": rule(kind="nobody", for_s=5, clear_after_s=1),
    "crowd": rule(kind="faces", max_faces=1, for_s=2),
    "broken": rule(kind="camera", for_s=5, cooldown_s=0, quiet=["12:00-12:01"], time_zone="Europe/Berlin"),
}

CRY = """
[rule.cry]
kind = "expression"
expressions = ["sadness", "fear", "anger"]
window_s = 20
share = 0.6
"""


def header(story: Story) -> dict[str, object]:
    return recording_header(
        node="lab",
        boot_id="boot",
        cameras=story.cameras,
        decide=story.decide,
        started_unix_ns=story.started_unix_ns,
    )


def recorded(path: Path, story: Story) -> Path:
    recorder = ScoreRecorder(open_recording(path), header(story))
    recorder.start()
    for seen in story.seen:
        recorder.put(seen)
    recorder.close()
    assert (recorder.problem, recorder.dropped) == (None, 0)
    return path


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def replayed(path: Path, rules: dict[str, Rule]) -> tuple[list[Alert], list[ExpressionEvent]]:
    payloads = [judged.payload for judged in replay(ScoreFile(path), rules)]
    return (
        [payload for payload in payloads if isinstance(payload, Alert)],
        [payload for payload in payloads if isinstance(payload, ExpressionEvent)],
    )


def eventually(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until_s, "did not happen"
        time.sleep(0.01)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(scenes=SCENES, clip=st.booleans(), stopped=st.booleans(), wobble=st.floats(0.01, 0.1))
def test_a_replay_gives_exactly_the_alerts_and_events_of_the_run(
    tmp_path: Path,
    scenes: list[Scene],
    clip: bool,  # noqa: FBT001
    stopped: bool,  # noqa: FBT001
    wobble: float,
) -> None:
    story = Story(RULES, clip=clip, decide=DecideSettings(smoothing_ms=300, min_confidence=0.45, baseline_s=2))
    odd = {1: [0.3 + wobble / 3, 0.2 - wobble / 7, 0.1, 0.1 + wobble / 11, 0.1, 0.1, 0.05, 0.05]}
    play(story, scenes).shows(6, front=odd)
    if stopped:
        story.stops()
    path = tmp_path / "scores.jsonl"
    path.unlink(missing_ok=True)
    alerts, events = replayed(recorded(path, story), RULES)
    assert alerts == story.alerts
    assert events == story.events


def test_a_recording_reads_back_as_it_was_decided(tmp_path: Path) -> None:
    story = Story(cameras=("hall", "front")).shows(2, hall={1: None}, front={2: "anger", 3: "fear"})
    story.news("offline", "hall", reason="rtsp://carer:secret@camera/1 is gone").passes(2).stops()
    path = recorded(tmp_path / "scores.jsonl", story)
    seen: list[Observation] = list(ScoreFile(path))
    assert len(seen) == len(story.seen)
    assert [as_line(one) for one in seen] == [as_line(one) for one in story.seen]
    text = path.read_text()
    assert "secret" not in text
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text("precious")
    with pytest.raises(UsageError, match=r"scores\.jsonl: exists already"):
        open_recording(path)
    assert path.read_text() == "precious"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"missing/scores\.jsonl: cannot be written \(No such file"):
        open_recording(tmp_path / "missing" / "scores.jsonl")


def test_a_full_disk_ends_the_recording_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here: it is Linux's disk that is always full")
    recorder = ScoreRecorder(full.open("w"), header(Story()))
    recorder.start()
    eventually(lambda: recorder.problem is not None)
    for number in range(20_000):  # more than may wait: nobody takes them any more
        recorder.put(Tick(number, number))
    recorder.close()
    assert recorder.problem == "/dev/full: scores are recorded no more (No space left on device)"
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


def test_what_a_slow_disk_cannot_take_is_dropped_counted_and_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story().shows(4, front={1: "neutral"})
    path = tmp_path / "scores.jsonl"
    recorder = ScoreRecorder(open_recording(path), header(story), waiting=5)
    for seen in story.seen:  # it writes nothing before its start, like one whose disk hangs
        recorder.put(seen)
    recorder.start()
    recorder.close()
    assert recorder.dropped == len(story.seen) - 5
    assert json.loads(path.read_text().splitlines()[-1]) == {"kind": "dropped", "count": recorder.dropped}
    assert [seen.time_ns for seen in ScoreFile(path)] == [seen.time_ns for seen in story.seen[:5]]
    assert f"{recorder.dropped} observations were dropped" in caplog.text


def test_what_was_put_is_on_the_disk_within_about_a_second(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    recorder = ScoreRecorder(open_recording(path), header(Story()))
    recorder.start()
    recorder.put(Tick(1, 2))
    eventually(lambda: '"tick"' in path.read_text())  # it is still open
    assert recorder.alive
    recorder.close()
    assert recorder.alive  # as it should


def test_a_recording_that_never_began_is_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    ScoreRecorder(open_recording(path), header(Story())).close()
    assert path.read_bytes() == b""


LOOK = {
    "kind": "look",
    "time_ns": 0,
    "unix_ns": 0,
    "camera": "front",
    "seq": 1,
    "clip_ms": None,
    "age_ms": 5.0,
    "width_px": 640,
    "height_px": 360,
    "faces": [
        {
            "track": 1,
            "box": [1.0, 2.0, 3.0, 4.0],
            "quality": {
                "size_px": 90,
                "brightness": 100,
                "sharpness": 0.1,
                "yaw_deg": 0.0,
                "roll_deg": 0.0,
                "refusal": None,
            },
            "probabilities": [0.125] * 8,
        }
    ],
    "lost": [],
}


def damaged(**changes: object) -> dict[str, object]:
    return {**LOOK, "faces": [{**LOOK["faces"][0], **changes}]}  # type: ignore[index]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (damaged(probabilities=[0.125] * 7), "look.faces.0.probabilities: Tuple should have at least 8 items"),
        (
            damaged(probabilities=[1.5] + [0.0] * 7),
            "look.faces.0.probabilities.0: Input should be less than or equal",
        ),
        (damaged(probabilities=[float("nan")] * 8), "look.faces.0.probabilities.0"),
        (damaged(box=[1.0, 2.0, 3.0]), "look.faces.0.box.3: Field required"),
        ({**LOOK, "time_ns": "now"}, "look.time_ns: Input should be a valid integer"),
        ({**LOOK, "unix_ns": -1}, "look.unix_ns: Input should be greater than or equal to 0"),
        ({**LOOK, "unix_ns": 10**21}, "look.unix_ns: Input should be less than or equal to"),
        ({**LOOK, "picture": "..."}, "look.picture: Extra inputs are not permitted"),
        ({**LOOK, "camera": "cellar"}, "camera 'cellar' is not among those of the header"),
        ({"kind": "smell"}, "Input tag 'smell' found"),
        ("text", "Input should be an object"),
    ],
)
def test_damage_is_told_with_file_and_line(tmp_path: Path, line: object, told: str) -> None:
    path = written(tmp_path / "scores.jsonl", header(Story()), LOOK, line, LOOK)
    with pytest.raises(UnavailableError) as error:
        list(ScoreFile(path))
    assert str(error.value).startswith(f"{path}:3: ")
    assert told in str(error.value)
    assert error.value.exit_code == 69


def test_a_last_line_that_a_power_cut_broke_off_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "scores.jsonl", header(Story()), LOOK, LOOK)
    whole = path.read_bytes()
    for rest in (whole[:-20], whole[:-20] + b"\0" * 40):
        caplog.clear()
        path.write_bytes(rest)
        assert len(list(ScoreFile(path))) == 1
        assert f"{path}:3: the last line is broken off" in caplog.text


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ({}, "no header of a recording of scores"),
        ({**header(Story()), "version": 2}, "format version 2; this edge-fer reads 1"),
        ({**header(Story()), "labels": [*EXPRESSIONS[:7], "boredom"]}, "scores of other expressions"),
        ({**header(Story()), "format": "diary"}, "found format 'diary'; right is 'edge-fer scores'"),
        ({**header(Story()), "started_unix_ns": 10**22}, "started_unix_ns: Input should be less than or equal to"),
    ],
)
def test_what_is_no_recording_is_told_as_such(tmp_path: Path, first: dict[str, object], told: str) -> None:
    path = written(tmp_path / "scores.jsonl", first)
    with pytest.raises(UnavailableError) as error:
        ScoreFile(path)
    assert str(error.value).startswith(f"{path}:1: ")
    assert told in str(error.value)


def test_an_empty_or_missing_file_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with pytest.raises(UnavailableError, match=r"cannot be read \(No such file or directory\)"):
        ScoreFile(path)
    path.touch()
    with pytest.raises(UnavailableError, match=r"scores\.jsonl:1: no header"):
        ScoreFile(path)


def crying(folder: Path) -> Path:
    story = Story().shows(10, front={1: "neutral"}).shows(15, front={1: "sadness"}).shows(30, front={1: "neutral"})
    return recorded(folder / "scores.jsonl", story.stops())


def rules_file(folder: Path, text: str) -> Path:
    path = folder / "rules.toml"
    path.write_text(text)
    return path


def test_people_read_lines_and_programs_json(tmp_path: Path) -> None:
    scores, rules = crying(tmp_path), rules_file(tmp_path, CRY)
    lines: list[str] = []
    show_replay(scores, rules, events=False, as_json=False, echo=lines.append)
    assert len(lines) == 3
    assert "active   cry              face 1 on camera front showed sadness, fear or anger for 12 s" in lines[0]
    assert "cleared  cry" in lines[1]
    assert lines[2] == "1 alert; cameras front"
    lines.clear()
    show_replay(scores, rules, events=True, as_json=False, echo=lines.append)
    assert [line.split()[1] for line in lines[:-1]] == ["start", "update", "active", "update", "cleared"]
    assert "front            face 1 sadness" in lines[1]
    assert lines[1].endswith(" s of neutral")
    lines.clear()
    show_replay(scores, rules, events=True, as_json=True, echo=lines.append)
    kinds = [next(iter(json.loads(line))) for line in lines]
    assert kinds == ["event", "event", "alert", "event", "alert"]
    assert json.loads(lines[2])["alert"]["samples"][0]["expression"] == "sadness"


def test_other_rules_and_other_decisions_may_be_tried_on_the_same_scores(tmp_path: Path) -> None:
    scores = ScoreFile(crying(tmp_path))
    strict = load_rules(rules_file(tmp_path, CRY.replace("0.6", "1.0")), scores)
    assert not [judged for judged in replay(scores, strict.rule) if isinstance(judged.payload, Alert)]
    slow = load_rules(rules_file(tmp_path, CRY + "[decide]\nhold_ms = 15000\n"), scores)
    assert (slow.decide.hold_ms, slow.decide.smoothing_ms) == (15_000, scores.header.decide.smoothing_ms)
    assert not [judged for judged in replay(scores, slow.rule, slow.decide) if isinstance(judged.payload, Alert)]


def test_a_whole_configuration_will_do(tmp_path: Path) -> None:
    scores = ScoreFile(crying(tmp_path))
    text = 'node = "kitchen"\n[camera.front]\nuri = "/dev/video0"\n[broker]\nurl = "mqtt://h"\n' + CRY
    assert list(load_rules(rules_file(tmp_path, text), scores).rule) == ["cry"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no rule; give at least one table [rule.NAME]"),
        ("[rules.cry]\nkind = 'camera'\n", "rules: unknown key; did you mean 'rule'?"),
        (CRY.replace("sadness", "sad"), "rule.cry.expressions: 'sad' is no expression; did you mean 'sadness'?"),
        (CRY + "cameras = ['frnt']\n", "rule.cry.cameras: there is no camera 'frnt'; did you mean 'front'?"),
        (CRY + "[decide]\nhold = 5\n", "decide.hold: unknown key; did you mean 'hold_ms'?"),
        (
            CRY.replace("rule.cry", "rule.Cry"),
            "rule.Cry: found 'Cry'; use 1 to 63 lower case letters",
        ),
        ("rule = 5", "rule: found 5"),
        ("[rule]\ncry = 5", "rule.cry: found 5"),
    ],
)
def test_wrong_rules_are_told_with_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    path = rules_file(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_rules(path, ScoreFile(crying(tmp_path)))
    assert str(error.value).startswith(f"{path}: {told}")
    assert error.value.exit_code == 78


def test_a_reader_who_leaves_ends_it_quietly(tmp_path: Path) -> None:
    scores, rules = crying(tmp_path), rules_file(tmp_path, CRY)
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "edge_fer", "replay", str(scores), "--rules", str(rules)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
