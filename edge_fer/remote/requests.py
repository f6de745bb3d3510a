"""Bytes from the broker -> a request that can be carried out, or the reason why not. Trusts nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from edge_fer.channels import BASE, COMMAND, topic
from edge_fer.mqtt.incoming import Incoming
from edge_fer.remote.settings import COMMANDS, CommandName
from edge_fer.toml import Settings

MAX_PAYLOAD_BYTES = 4096
MAX_DEPTH = 4
"""Of objects and lists in each other; a command needs two."""

MAX_ID = 100
MAX_TOPIC = 256
MAX_CORRELATION_BYTES = 1024
LONGEST_PAUSE_S = 604_800
"""A week; a longer one is asked for on the node itself, or without an end."""

UNKNOWN = "unknown"
"""In place of a command's name that is not known: no foreign text becomes a topic."""

_SHOWN = 60
_STEP = {"{": 1, "[": 1, "}": -1, "]": -1}

CameraName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,63}$")]
Cameras = Annotated[list[CameraName], Field(min_length=1, max_length=100)]


class Body(Settings):
    """What every command may have."""

    id: Annotated[str, StringConstraints(max_length=MAX_ID)] | None = None
    """Comes back in the reply."""

    @field_validator("id")
    @classmethod
    def _can_be_said_again(cls, text: str | None) -> str | None:
        # Not half a surrogate pair, which is no UTF-8, and nothing that disturbs a log.
        if text is not None and not text.isprintable():
            raise ValueError("characters that cannot be printed")
        return text


class CamerasBody(Body):
    """`cmd/resume` and `cmd/detect-now`."""

    cameras: Cameras | None = None
    """Names; all without it."""


class PauseBody(CamerasBody):
    """`cmd/pause`."""

    for_s: Annotated[int, Field(ge=1, le=LONGEST_PAUSE_S)] | None = None
    """How long; until somebody resumes without it."""

    paused: bool = True
    """false: the same as `cmd/resume`, for switches that have one topic for both."""

    @model_validator(mode="after")
    def _makes_sense(self) -> PauseBody:
        if not self.paused and self.for_s is not None:
            raise ValueError("for_s is of no use with paused = false")
        return self


class PowerModeBody(Body):
    """`cmd/set-power-mode`."""

    mode: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]{1,64}$")]
    """Its name, its id ("2"), or a budget ("15W") of this board."""


BODIES: dict[CommandName, type[Body]] = {
    "pause": PauseBody,
    "resume": CamerasBody,
    "reload": Body,
    "detect-now": CamerasBody,
    "set-power-mode": PowerModeBody,
}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who gets the answer."""

    command: str  # as in the topic of the reply: one of COMMANDS, or UNKNOWN
    id: str | None = None  # of the request
    response_topic: str | None = None  # of MQTT 5, where it may be used
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A command that may be carried out."""

    asker: Asker
    name: CommandName
    cameras: tuple[str, ...] = ()  # none: all
    for_s: int | None = None  # of a pause; None: until somebody ends it
    mode: str = ""  # of set-power-mode
    at_ns: int = 0  # when it arrived


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that is not carried out, and why."""

    asker: Asker
    why: str


class _NotPlainError(ValueError):
    """A payload that is no JSON object, with a reason for people."""


def read_request(
    incoming: Incoming, node: str, allowed: Sequence[str], reserved: Sequence[str] = (), at_ns: int = 0
) -> Request | Refusal:
    """What a message asks for; never raises.

    `reserved` are the beginnings of topics that no answer may go to, besides those below `edge-fer/`.
    """
    prefix = topic(COMMAND, node)
    given = incoming.topic.removeprefix(prefix) if incoming.topic.startswith(prefix) else ""
    name = next((known for known in COMMANDS if known == given), None)
    asker = Asker(name or UNKNOWN, None, *_way_back(incoming, node, reserved))
    try:
        body, problem = _read_object(incoming.payload), ""
    except _NotPlainError as err:
        body, problem = {}, str(err)
    asker = Asker(asker.command, _echo(body.get("id")), asker.response_topic, asker.correlation)
    if name is None:
        return Refusal(asker, f"unknown command {_shown(given)}; known here: {', '.join(COMMANDS)}")
    if incoming.retained:
        problem = "a retained command is never carried out: it would be again at each connection"
    elif name not in allowed:
        problem = f"{name} is not allowed here; [commands] allow names those that are"
    if problem:
        return Refusal(asker, problem)
    try:
        checked = BODIES[name].model_validate(body)
    except ValidationError as err:
        return Refusal(asker, _explained(err, BODIES[name]))
    if isinstance(checked, PauseBody) and not checked.paused:
        if "resume" not in allowed:
            return Refusal(asker, "resume is not allowed here; [commands] allow names those that are")
        name = "resume"
    cameras = tuple(dict.fromkeys(getattr(checked, "cameras", None) or ()))
    for_s, mode = getattr(checked, "for_s", None), getattr(checked, "mode", "")
    return Request(asker, name, cameras, for_s, mode, at_ns)


def may_answer_to(response_topic: str, node: str, reserved: Sequence[str] = ()) -> bool:
    """Whether an answer may go to a topic that somebody else has chosen.

    Not below `edge-fer/`, where it could be taken for an event or a command of this node or another; but below
    the node's own replies it may.
    """
    if not 0 < len(response_topic) <= MAX_TOPIC or not response_topic.isprintable():
        return False
    if response_topic.startswith("$") or "#" in response_topic or "+" in response_topic:
        return False
    if response_topic.startswith(f"{BASE}/{node}/rsp/"):
        return True
    return not any((response_topic + "/").startswith(f"{start.rstrip('/')}/") for start in (BASE, *reserved))


def _way_back(incoming: Incoming, node: str, reserved: Sequence[str]) -> tuple[str | None, bytes | None]:
    where, correlation = incoming.response_topic, incoming.correlation
    if not where or not may_answer_to(where, node, reserved) or len(correlation or b"") > MAX_CORRELATION_BYTES:
        return None, None
    return where, correlation


def _read_object(payload: bytes) -> dict[str, Any]:
    """An object of JSON, or an empty payload for an empty one; _NotPlainError says what else it is."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _NotPlainError(f"{len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are read")
    try:
        text = payload.decode()
    except UnicodeDecodeError as err:
        raise _NotPlainError(f"not UTF-8 (byte {err.start})") from err
    if not text.strip():
        return {}
    if _depth(text) > MAX_DEPTH:
        raise _NotPlainError(f"nested deeper than {MAX_DEPTH}")
    try:
        found = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once_each)
        json.dumps(found, ensure_ascii=False).encode()
    except _NotPlainError:
        raise
    except UnicodeEncodeError as err:
        raise _NotPlainError("half a surrogate pair, which is no text") from err
    except ValueError as err:
        raise _NotPlainError(f"not JSON ({_cut(str(err))})") from err
    if not isinstance(found, dict):
        raise _NotPlainError("not a JSON object; give {} or nothing, or keys in braces")
    return found


def _depth(text: str) -> int:
    """Deepest nesting, counted without a parser, which could run out of stack."""
    depth = deepest = 0
    quoted = escaped = False
    for char in text:
        if quoted:
            quoted, escaped = escaped or char != '"', char == "\\" and not escaped
        elif char == '"':
            quoted = True
        else:
            depth += _STEP.get(char, 0)
            deepest = max(deepest, depth)
    return deepest


def _refuse_constant(name: str) -> float:
    raise _NotPlainError(f"not JSON ({name} is no number)")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NotPlainError("a key is given twice")
    return found


def _echo(given: object) -> str | None:
    """The id, where it is one: a refusal names it too."""
    return given if isinstance(given, str) and len(given) <= MAX_ID and given.isprintable() else None


def _explained(err: ValidationError, body: type[Body]) -> str:
    """The first thing that is wrong, in one line."""
    error = err.errors()[0]
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "string_pattern_mismatch" and key == "mode":
        return f"mode: found {_shown(error['input'])}; a mode is a name, an id or a budget, such as 15W"
    if error["type"] == "extra_forbidden":
        return f"unknown key {_shown(key)}; known here: {', '.join(sorted(body.model_fields))}"
    if error["type"] == "string_pattern_mismatch":
        return f"{key}: found {_shown(error['input'])}; a name is 1 to 63 lower case letters, digits and hyphens"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}" if key else str(error["ctx"]["error"])
    return f"{key}: found {_shown(error['input'])}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _shown(found: object) -> str:
    """What was given, harmless: escaped and cut."""
    # ascii() of a huge number costs its digits, but a payload holds only so many.
    return _cut(ascii(found))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
