"""`[commands]`: what a dashboard may ask of this node."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, field_validator

from edge_fer.toml import Settings

CommandName = Literal["pause", "resume", "reload", "detect-now", "set-power-mode"]
COMMANDS: tuple[CommandName, ...] = get_args(CommandName)


class CommandSettings(Settings):
    """`[commands]`: which of them are carried out. Whoever may publish on the topics may then give them."""

    allow: list[CommandName] = Field(default=[])
    """pause, resume, reload, detect-now, set-power-mode; none by default, and then nothing is subscribed."""

    @field_validator("allow")
    @classmethod
    def _is_a_set(cls, allow: list[CommandName]) -> list[CommandName]:
        if len(set(allow)) < len(allow):
            raise ValueError("a command is named twice")
        return allow
