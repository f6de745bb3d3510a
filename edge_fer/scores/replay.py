"""`edge-fer replay`: rules on recorded scores, without any picture; the same code as in the daemon."""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from pydantic import Field, ValidationError

from edge_fer.config import Config, Id, explain_error
from edge_fer.decide import DecideSettings
from edge_fer.errors import ConfigError
from edge_fer.events import Alert, CameraState, ExpressionEvent
from edge_fer.judge import Judge, Judged
from edge_fer.rules.settings import Rule, RuleTable, check_cameras
from edge_fer.scores.recording import ScoreFile
from edge_fer.toml import Settings, read_toml


class ReplayRules(Settings):
    """What a replay takes of a file of rules, or of a whole configuration."""

    rule: dict[Id, RuleTable] = Field(min_length=1)
    decide: DecideSettings


def show_replay(
    scores_file: Path, rules_file: Path, *, events: bool, as_json: bool, echo: Callable[[str], None]
) -> None:
    """Print the alerts, and with `events` the events, as they come: lines for people, or JSON lines.

    ConfigError where the rules are wrong; UnavailableError where the recording is missing or damaged.
    """
    scores = ScoreFile(scores_file)
    wanted = load_rules(rules_file, scores)
    alerts = 0
    for payload, _ in replay(scores, wanted.rule, wanted.decide):
        if isinstance(payload, CameraState) or (isinstance(payload, ExpressionEvent) and not events):
            continue
        alerts += isinstance(payload, Alert) and payload.state == "active"
        echo(_as_json(payload) if as_json else _for_people(payload))
    if not as_json:
        echo(f"{alerts} alert{'' if alerts == 1 else 's'}; cameras {', '.join(scores.header.cameras)}")


def replay(scores: ScoreFile, rules: Mapping[str, Rule], decide: DecideSettings | None = None) -> Iterator[Judged]:
    """What the recorded observations decide under these rules; with the recorded [decide] unless another is given."""
    header = scores.header
    judge = Judge(
        header.cameras,
        decide=decide or header.decide,
        rules=rules,
        boot_id=header.boot_id,
        number=itertools.count(header.first_seq).__next__,
    )
    judge.start(header.started_unix_ns)
    for seen in scores:
        yield from judge.take(seen)


def load_rules(path: Path, scores: ScoreFile) -> ReplayRules:
    """`[rule.NAME]` and `[decide]` of a file, for the cameras of a recording; [decide] is laid over the recorded one.

    ConfigError lists everything that is wrong, each line with file and key. The rest of a configuration is not read.
    """
    tables = read_toml(path)
    known = {*Config.model_fields, "rule"}
    if strange := sorted(tables.keys() - known):
        near = difflib.get_close_matches(strange[0], sorted(known), n=1, cutoff=0.5)
        raise ConfigError(f"{path}: {strange[0]}: unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))
    if not tables.get("rule"):
        raise ConfigError(f"{path}: no rule; give at least one table [rule.NAME]")
    decide = tables.get("decide", {})
    if isinstance(decide, dict):
        decide = {**scores.header.decide.model_dump(), **decide}
    try:
        rules = ReplayRules.model_validate({"rule": tables["rule"], "decide": decide})
        check_cameras(rules.rule, scores.header.cameras)
    except ValidationError as err:
        raise ConfigError("\n".join(f"{path}: {explain_error(error)}" for error in err.errors())) from err
    except ValueError as err:
        raise ConfigError(f"{path}: {err} (cameras of the recording)") from err
    return rules


def _as_json(payload: Alert | ExpressionEvent) -> str:
    kind = "alert" if isinstance(payload, Alert) else "event"
    return json.dumps({kind: asdict(payload)}, ensure_ascii=False, separators=(",", ":"))


def _for_people(payload: Alert | ExpressionEvent) -> str:
    if isinstance(payload, Alert):
        return f"{payload.since}  {payload.state:<8} {payload.rule:<16} {payload.why}"
    after = f", after {payload.expression_ms / 1000:.1f} s of {payload.previous}" if payload.previous else ""
    if payload.type == "end":
        after = f" for {payload.expression_ms / 1000:.1f} s; {payload.reason}"
    what = f"face {payload.track} {payload.expression} {payload.confidence:.0%}"
    return f"{payload.occurred_at}  {payload.type:<8} {payload.camera:<16} {what}{after}"
