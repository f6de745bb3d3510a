from pathlib import Path

import pytest

import converter
from converter.recipe import read_recipe
from edge_fer.errors import ConfigError

RECIPES = Path(converter.__file__).parent / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_named_after_their_network(path: Path) -> None:
    assert path.stem == f"train_{read_recipe(path).network}"


def test_there_is_a_recipe_for_each_network() -> None:
    assert {path.stem for path in RECIPES.glob("train_*.toml")} == {"train_nano_a", "train_nano_b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('network = "nano_b"\nepochs = 1\nepoch = 2\n', "epoch: Extra inputs"),
        ('network = "nano_c"\nepochs = 1\n', "network: Input should be 'nano_a' or 'nano_b'"),
        ('network = "nano_b"\n', "epochs: Field required"),
        ('network = "nano_b"\nepochs = 0\n', "epochs: Input should be greater than or equal to 1"),
        ('network = "nano_b"\nepochs = 1\n[augment]\nrotation_deg = 3\n', r"augment\.rotation_deg: Extra inputs"),
        ('network = "nano_b\n', "not valid TOML"),
    ],
)
def test_errors_name_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"mine\.toml: {message}"):
        read_recipe(path)


def test_every_wrong_key_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 0\nspeed = 1\n")
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["network", "epochs", "speed"]


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        read_recipe(tmp_path / "none.toml")
