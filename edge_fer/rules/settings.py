"""The tables `[rule.NAME]`: the models here are the manual of their keys."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from edge_fer.labels import EXPRESSIONS
from edge_fer.rules.hours import QuietHours, find_zone, parse_window
from edge_fer.toml import Settings

DAY_S = 86_400.0


class CommonKeys(Settings):
    """Keys of every kind of rule."""

    cameras: list[str] | None = Field(default=None, min_length=1)
    """Names of the cameras that it is about; without it, all."""

    clear_after_s: float = Field(default=5.0, ge=0, le=DAY_S)
    """What raised the alert must be gone this long before the alert is cleared."""

    cooldown_s: float = Field(default=60.0, ge=0, le=DAY_S)
    """Least time from one alert of this rule to its next; what still holds then raises it."""

    quiet: list[str] = Field(default=[])
    """Hours in which no alert is raised, such as "22:00-07:00" or "sat,sun 00:00-24:00"; what still holds at their end
    raises it then. A window across midnight belongs to the day on which it begins."""

    time_zone: str | None = None
    """Of the quiet hours, such as "Europe/Berlin"."""

    text: str = Field(default="", max_length=500)
    """A sentence for people that goes with every alert: what to do, whom to call."""

    @field_validator("quiet")
    @classmethod
    def _are_windows(cls, quiet: list[str]) -> list[str]:
        for text in quiet:
            parse_window(text)
        return quiet

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, time_zone: str | None) -> str | None:
        if time_zone is not None:
            find_zone(time_zone)
        return time_zone

    @model_validator(mode="after")
    def _has_a_zone(self) -> CommonKeys:
        if self.quiet and self.time_zone is None:
            raise ValueError("quiet hours need a time_zone, such as 'Europe/Berlin'")
        return self

    @property
    def quiet_hours(self) -> QuietHours:
        """When its alerts wait."""
        return QuietHours(self.quiet, self.time_zone)


class ExpressionRule(CommonKeys):
    """A face shows one of some expressions for a share of a window of time."""

    kind: Literal["expression"]
    expressions: list[str] = Field(min_length=1)
    """Any of them counts."""

    window_s: float = Field(default=20.0, ge=1, le=DAY_S)
    """The time that is looked back on."""

    share: float = Field(default=0.6, gt=0, le=1)
    """Of the window, in which the expressions must have been read. Time in which the face was not read, because it was
    turned away or hidden, counts against it."""

    clear_share: float | None = Field(default=None, ge=0, lt=1)
    """Below this share it is gone; half of `share` without it."""

    min_confidence: float = Field(default=0.0, ge=0, le=1)
    """Least smoothed score of the expression to be counted, besides what [decide] asks for."""

    per: Literal["face", "camera"] = "face"
    """face: one and the same face must show them. camera: whoever is in view, one after another or by turns."""

    @field_validator("expressions")
    @classmethod
    def _are_expressions(cls, expressions: list[str]) -> list[str]:
        for name in expressions:
            if name not in EXPRESSIONS:
                raise ValueError(f"{name!r} is no expression; {_hint(name, EXPRESSIONS)}")
        if len(set(expressions)) < len(expressions):
            raise ValueError("an expression is named twice")
        return expressions

    @model_validator(mode="after")
    def _can_be_cleared(self) -> ExpressionRule:
        if self.clear_share is not None and self.clear_share >= self.share:
            raise ValueError(f"clear_share {self.clear_share:g} must be below share {self.share:g}")
        return self

    @property
    def cleared_below(self) -> float:
        """The share below which the alert is cleared."""
        return self.share / 2 if self.clear_share is None else self.clear_share


class NobodyRule(CommonKeys):
    """No face for a time, while at least one of the cameras watches. A camera that sees nothing proves nothing."""

    kind: Literal["nobody"]
    for_s: float = Field(ge=1, le=DAY_S)
    """Time of watching without a face; it stands still while no camera watches."""


class FacesRule(CommonKeys):
    """More faces on one camera than there should be."""

    kind: Literal["faces"]
    max_faces: int = Field(ge=0, le=100)
    """So many are right; 0: nobody should be there."""

    for_s: float = Field(default=5.0, ge=0, le=DAY_S)


class CameraRule(CommonKeys):
    """A camera is neither online nor switched off on purpose."""

    kind: Literal["camera"]
    for_s: float = Field(default=60.0, ge=0, le=DAY_S)


Rule = ExpressionRule | NobodyRule | FacesRule | CameraRule
RuleTable = Annotated[Rule, Field(discriminator="kind")]
"""One table `[rule.NAME]`; a configuration has `rule: dict[Id, RuleTable] = {}`."""

_KINDS: dict[str, type[CommonKeys]] = {
    "expression": ExpressionRule,
    "nobody": NobodyRule,
    "faces": FacesRule,
    "camera": CameraRule,
}


def check_cameras(rules: Mapping[str, Rule], cameras: Iterable[str]) -> None:
    """ValueError where a rule is about a camera that does not exist; it names the rule and the key."""
    known = sorted(cameras)
    for name, rule in rules.items():
        for camera in rule.cameras or ():
            if camera not in known:
                raise ValueError(f"rule.{name}.cameras: there is no camera {camera!r}; {_hint(camera, known)}")


def explain_rule(error: Mapping[str, Any]) -> str | None:
    """A pydantic error as `rule.NAME.key: what was found, what would be right`; None where it is about no rule."""
    top, name, kind, *keys = [*(str(part) for part in error["loc"]), "", "", ""][: max(3, len(error["loc"]))]
    if top != "rule" or not name or kind == "[key]":
        return None
    key = ".".join([top, name, *keys])
    found = error["input"]
    said: dict[str, Callable[[], str]] = {
        "union_tag_invalid": lambda: f".kind: found {found['kind']!r}; {_hint(found['kind'], _KINDS)}",
        "union_tag_not_found": lambda: f".kind: missing; give one of {', '.join(_KINDS)}",
        "extra_forbidden": lambda: f": unknown key; {_hint(keys[-1], sorted(_KINDS[kind].model_fields))}",
        "missing": lambda: ": missing",
        "value_error": lambda: f": {error['ctx']['error']}",
    }
    by_default = f": found {found!r}; {error['msg'][0].lower()}{error['msg'][1:]}"
    return key + said.get(error["type"], lambda: by_default)()


def _hint(found: object, known: Collection[str]) -> str:
    near = difflib.get_close_matches(str(found), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
