from __future__ import annotations

import re
from pathlib import Path

from edge_fer.rules.settings import CameraRule, ExpressionRule, FacesRule, NobodyRule
from edge_fer.scores.replay import ReplayRules
from edge_fer.toml import read_toml

MANUAL = Path(__file__).parents[2] / "docs" / "rules.md"


def test_every_example_of_the_manual_is_right(tmp_path: Path) -> None:
    examples = re.findall(r"^```toml\n(.*?)^```", MANUAL.read_text(), re.DOTALL | re.MULTILINE)
    assert len(examples) == 3
    for example in examples:
        path = tmp_path / "rules.toml"
        path.write_text(example)
        rules = ReplayRules.model_validate({"decide": {}, **read_toml(path)}).rule
        assert all(f"[rule.{name}]" in example for name in rules)


def test_the_manual_names_every_key() -> None:
    text = MANUAL.read_text()
    for kind in (ExpressionRule, NobodyRule, FacesRule, CameraRule):
        assert [key for key in kind.model_fields if f"`{key}`" not in text and key != "kind"] == []
