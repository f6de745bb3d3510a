"""What a new configuration changes, and what cannot change while the daemon runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from edge_fer.config import Config

APPLIED = frozenset(
    {"camera", "rule", "model", "detector", "quality", "decide", "self_test", "governor", "telemetry_s"}
)
"""Keys that a reload applies; all others need a restart."""

LOADED = frozenset({"network", "precision", "runtime", "threads", "prior", "path"})
"""Keys of [model] that a network is loaded by."""


@dataclass(frozen=True, slots=True)
class Differences:
    """From one configuration to another; names in the order of the configuration."""

    added: tuple[str, ...] = ()  # cameras
    removed: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    rules_added: tuple[str, ...] = ()
    rules_removed: tuple[str, ...] = ()
    rules_changed: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()  # of APPLIED, without cameras and rules
    fixed: tuple[str, ...] = ()  # keys that need a restart
    networks: bool = False  # whether networks must be loaded

    def __str__(self) -> str:
        """For people: "camera hall added; rule x changed"."""
        said = [
            (self.added, "camera", "added"),
            (self.removed, "camera", "removed"),
            (self.restarted, "camera", "restarted"),
            (self.rules_added, "rule", "added"),
            (self.rules_removed, "rule", "removed"),
            (self.rules_changed, "rule", "changed"),
        ]
        parts = [f"{what} {name} {became}" for names, what, became in said for name in names]
        return "; ".join([*parts, *(f"{table} changed" for table in self.tables)])


def differences(old: Config, new: Config) -> Differences:
    """What changes from the one to the other."""
    tables = [name for name in Config.model_fields if getattr(old, name) != getattr(new, name)]
    settings = [name for name in tables if name in APPLIED]
    rules_added, rules_removed, rules_changed = _compared(old.rule, new.rule)
    added, removed, restarted = _compared(old.camera, new.camera)
    return Differences(
        added=added,
        removed=removed,
        restarted=restarted,
        rules_added=rules_added,
        rules_removed=rules_removed,
        rules_changed=rules_changed,
        tables=tuple(name for name in settings if name not in ("camera", "rule")),
        fixed=tuple(
            key
            for name in tables
            if name not in APPLIED
            for key in _changed_keys(name, getattr(old, name), getattr(new, name))
        ),
        networks="detector" in settings or any(getattr(old.model, key) != getattr(new.model, key) for key in LOADED),
    )


def _compared(
    old: Mapping[str, object], new: Mapping[str, object]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names that came, went, and stayed with other settings."""
    return (
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
        tuple(name for name in new if name in old and new[name] != old[name]),
    )


def _changed_keys(name: str, old: object, new: object) -> list[str]:
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        keys = type(new).model_fields
        return [f"{name}.{key}" for key in keys if getattr(old, key, None) != getattr(new, key)]
    return [name]
