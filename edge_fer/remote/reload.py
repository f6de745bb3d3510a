"""The configuration is read again while the daemon runs: all of it is applied, or nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_fer.config import Config, load_config
from edge_fer.errors import ConfigError, EdgeFerError
from edge_fer.loaded import Models, load_models, with_card_threshold
from edge_fer.privacy import hide_password
from edge_fer.remote.differences import Differences, differences
from edge_fer.remote.errand import Errand

log = logging.getLogger(__name__)

LONGEST_PROBLEM = 300
MOST_LINES = 20
"""Of one refusal in the log."""

Answer = Callable[[bool, str], None]
"""Gets whether it was applied, and what changed or what is wrong."""


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """Where a configuration came from, so that it can be read again."""

    path: Path | None
    overrides: Mapping[str, Any]  # of the command line

    def read(self) -> Config:
        """As it is now; ConfigError as `load_config`."""
        return load_config(self.path, self.overrides)


@dataclass(frozen=True, slots=True)
class NewConfig:
    """A valid configuration, ready to be applied."""

    config: Config
    models: Models
    changes: Differences


class Hangup:
    """Whether a SIGHUP has come. A plain flag: a lock could be held by the very thread that the signal interrupts."""

    def __init__(self) -> None:
        self._came = False

    def note(self) -> None:
        """It has come."""
        self._came = True

    def take(self) -> bool:
        """Whether it has come since the last call."""
        came, self._came = self._came, False
        return came


class Reloader:
    """Reads the configuration again in a thread, and has it applied by the main thread, whose methods these are."""

    def __init__(
        self,
        source: ConfigSource | None,
        config: Config,
        models: Models,
        apply: Callable[[NewConfig], None],
        *,
        recording: bool = False,
        on_reload: Callable[[Literal["start", "end"]], None] = lambda _phase: None,
        load: Callable[[Config], Models] = load_models,
    ) -> None:
        """`recording`: scores are recorded, whose header names cameras and settings; `on_reload` is for systemd."""
        self._source, self._apply, self._recording, self._on_reload = source, apply, recording, on_reload
        self._config, self._models, self._load = config, models, load
        self._errand = Errand[NewConfig]("reload")
        self._answer: Answer = _unheard
        self.problem = ""
        """Why the file is not what runs; "" where it is."""

    @property
    def config(self) -> Config:
        """That which runs."""
        return self._config

    @property
    def busy(self) -> bool:
        """Whether the configuration is being read."""
        return self._errand.busy

    def close(self, timeout_s: float) -> None:
        """Wait a little for the thread; what it has read is not applied any more."""
        self._errand.wait(timeout_s)

    def ask(self, answer: Answer | None = None) -> None:
        """Begin to read the configuration again; `answer` is called by this or a later `turn`."""
        answer = answer or _unheard
        if self._source is None or self._source.path is None:
            log.warning("nothing to read again: the configuration is that of the command line")
            answer(False, "there is nothing to read again: the configuration is that of the command line")  # noqa: FBT003
            return
        if self.busy:
            answer(False, "busy: the configuration is being read again already")  # noqa: FBT003
            return
        source, old, models = self._source, self._config, self._models
        self._answer = answer
        self._on_reload("start")
        self._errand.start(lambda: self._prepare(source, old, models))

    def turn(self) -> None:
        """Apply what was read, or tell why not; never waits."""
        if (found := self._errand.take()) is None:
            return
        try:
            if isinstance(found, NewConfig):
                text = self._take(found)
                self._answer(True, text)  # noqa: FBT003
            else:
                self._refuse(found)
        finally:
            self._answer = _unheard
            self._on_reload("end")

    def _take(self, new: NewConfig) -> str:
        self._apply(new)
        self._config, self._models, self.problem = new.config, new.models, ""
        text = str(new.changes) or "nothing changed"
        log.info("configuration read again: %s", text)
        return text

    def _refuse(self, err: Exception) -> None:
        # Of a bug the class is worth more than its text.
        text = str(err) if isinstance(err, EdgeFerError) else f"{type(err).__name__}: {err}"
        lines = hide_password(text).splitlines() or [type(err).__name__]
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        self.problem = lines[0][:LONGEST_PROBLEM]
        for line in lines[:MOST_LINES]:
            log.error("configuration refused, the old one stays: %s", line)
        self._answer(False, f"refused, the old configuration stays: {self.problem}{more}")  # noqa: FBT003

    def _prepare(self, source: ConfigSource, old: Config, models: Models) -> NewConfig:
        """In the thread: everything that may wait or fail."""
        new = source.read()
        changes = differences(old, new)
        if changes.fixed:
            raise ConfigError(f"{', '.join(changes.fixed)} cannot change while the daemon runs: restart it")
        loaded = self._load(new) if changes.networks else models
        if self._recording and _disturbs_recording(old, new, models, loaded):
            raise ConfigError("cameras, rules and [decide] cannot change while scores are recorded: restart the daemon")
        return NewConfig(new, loaded, changes)


def _disturbs_recording(old: Config, new: Config, old_models: Models, new_models: Models) -> bool:
    """Whether a replay, which knows one set of cameras and settings, would decide otherwise than the daemon."""
    decide = with_card_threshold(old.decide, old_models.reader) != with_card_threshold(new.decide, new_models.reader)
    return decide or old.camera != new.camera or old.rule != new.rule


def _unheard(_ok: bool, _text: str) -> None:  # noqa: FBT001
    """Nobody waits for an answer."""
