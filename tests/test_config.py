from __future__ import annotations

from pathlib import Path

import pytest

from edge_fer.config import default_node, load_config
from edge_fer.errors import ConfigError

GOOD = """
node = "kitchen"
[broker]
url = "mqtt://carer@broker.local"
password_file = "/etc/edge-fer/password"
[camera.front]
uri = "/dev/video0"
[model]
network = "nano_a"
threads = 2
[decide]
min_confidence = 0.5
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "edge-fer.toml"
    path.write_text(text)
    return path


def test_a_right_file_is_read(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD), {})
    assert (config.node, config.model.network, config.model.threads) == ("kitchen", "nano_a", 2)
    assert config.camera["front"].uri == "/dev/video0"
    assert config.detector.every_frames == 3


def test_the_command_line_overrules_the_file(tmp_path: Path) -> None:
    overrides = {"node": "lab", "camera": {"back": {"uri": "clip.mp4"}}}
    config = load_config(written(tmp_path, GOOD), overrides)
    assert config.node == "lab"
    assert sorted(config.camera) == ["back", "front"]


def test_everything_wrong_is_told_at_once_with_file_and_key(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        node = "Kitchen!"
        colour = "red"
        [camera.front]
        uri = 5
        [model]
        thread = 2
        precision = "int4"
        prior = "often"
        [decide]
        min_confidence = 2.0
        [homeassistant]
        prefix = "a/#"
        """,
    )
    with pytest.raises(ConfigError) as error:
        load_config(path, {})
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    told = {line.removeprefix(f"{path}: ").partition(":")[0]: line for line in lines}
    assert sorted(told) == [
        "camera.front.uri",
        "colour",
        "decide.min_confidence",
        "homeassistant.prefix",
        "model.precision",
        "model.prior",
        "model.thread",
        "node",
    ]
    assert "did you mean 'threads'?" in told["model.thread"]
    assert "known here: broker, camera" in told["colour"]
    assert "found 'often'; give 'default'" in told["model.prior"]
    assert "found 5" in told["camera.front.uri"]
    assert "lower case letters" in told["node"]
    assert "found 'a/#'; use letters, digits, _ and -" in told["homeassistant.prefix"]
    assert error.value.exit_code == 78


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("node = ", "not valid TOML"),
        ('camera = "front"', "camera: found 'front'"),
        ("", "camera: missing"),
        ("[camera]", "camera: found {}"),
        ("[camera.Front]\nuri = '/dev/video0'", "camera.Front: found 'Front'; use 1 to 63 lower case"),
        ("[camera.front]\nurl = '/dev/video0'", "camera.front.url: unknown key; did you mean 'uri'?"),
        ("[camera.self-test]\nuri = 'sample:'", "toml: camera.self-test: this name is kept for the self-test"),
        (
            "camera.front.uri = 'sample:'\n[rule.empty]\nkind = 'nobody'\nfor_s = 9\ncameras = ['frnt']",
            "toml: rule.empty.cameras: there is no camera 'frnt'; did you mean 'front'?",
        ),
        (
            "camera.front.uri = 'sample:'\n[rule.cry]\nkind = 'expression'\nexpressions = ['sad']\nwindow_s = 0",
            "toml: rule.cry.expressions: 'sad' is no expression; did you mean 'sadness'?",
        ),
        (
            "camera.front.uri = 'sample:'\nmodel.threads = 0",
            'model.threads: found 0; give a number from 1 to 64, or "auto"',
        ),
        ("camera.front.uri = 'sample:'\nmodel.threads = 'many'", "model.threads: found 'many'; give a number"),
        ("camera.front.uri = 'sample:'\nmodel.threads = true", "model.threads: found True; give a number"),
        ("[camera.front]\nuri = 'sample:'\nstall_timeout_s = -1", "camera.front.stall_timeout_s: found -1"),
    ],
)
def test_wrong_files_are_explained(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(written(tmp_path, text), {})
    assert told in str(error.value)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read \(No such file"):
        load_config(tmp_path / "missing.toml", {})
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.toml: not a text file in UTF-8"):
        load_config(tmp_path / "binary.toml", {})


def test_an_error_never_repeats_a_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(written(tmp_path, 'broker = "mqtt://carer:s3cret@broker"'), {})
    assert "s3cret" not in str(error.value)


def test_another_broker_gets_nothing_of_the_one_in_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD), {"broker": {"url": "mqtt://me@test"}})
    assert config.broker is not None
    assert config.broker.password_file is None


def test_the_example_of_the_manual_is_right_and_shows_the_defaults(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
    example = manual.partition("```toml\n")[2].partition("```")[0]
    config = load_config(written(tmp_path, example), {})
    plain = load_config(None, {"camera": {"a": {"uri": "x"}}})
    for table in ("model", "detector", "quality", "decide", "self_test", "telemetry_s"):
        assert getattr(config, table) == getattr(plain, table)
    front = config.camera["front"].model_dump(exclude={"uri"})
    assert front == plain.camera["a"].model_dump(exclude={"uri"})


def test_the_hash_tells_configurations_apart_but_not_passwords() -> None:
    def digest(uri: str) -> str:
        return load_config(None, {"node": "n", "camera": {"front": {"uri": uri}}}).sha256

    assert digest("rtsp://u:one@camera/") == digest("rtsp://u:two@camera/")
    assert digest("rtsp://u:one@camera/") != digest("rtsp://u:one@other/")


def test_the_default_node_may_stand_in_a_topic() -> None:
    assert load_config(None, {"camera": {"a": {"uri": "x"}}}).node == default_node()


def test_a_prior_by_name_or_as_shares(tmp_path: Path) -> None:
    camera = "[camera.front]\nuri = '/dev/video0'\n[model]\n"
    assert load_config(written(tmp_path, camera), {}).model.prior == "default"
    assert load_config(written(tmp_path, camera + 'prior = "balanced"'), {}).model.prior == "balanced"
    shares = load_config(written(tmp_path, camera + "prior = [5, 3, 1, 1, 1, 0.5, 0.5, 0]"), {}).model.prior
    assert shares == (5, 3, 1, 1, 1, 0.5, 0.5, 0)
