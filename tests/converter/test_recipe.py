from pathlib import Path

import pytest

import converter
from converter.recipe import read_conversion_recipe, read_recipe
from edge_fer.errors import ConfigError, UsageError

RECIPES = Path(converter.__file__).parent / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("train_*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_named_after_their_network(path: Path) -> None:
    assert path.stem == f"train_{read_recipe(path).network}"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("train_*.toml")), ids=lambda path: path.stem)
def test_the_files_that_a_recipe_names_are_there(path: Path) -> None:
    recipe = read_recipe(path)
    named = [file for file in (recipe.initial_weights, *(teacher.file for teacher in recipe.teachers)) if file]
    assert all((path.parent / file).is_file() for file in named)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("float32", ("float32", "float32", "float32")),
        ("float16", ("float16", "float32", "float32")),
        ("int8", ("int8", "int8", "int8")),
        ("int8-float-io", ("int8", "int8", "float32")),
        ("dynamic", ("int8", "float32", "float32")),
    ],
)
def test_conversion_recipes(name: str, numbers: tuple[str, str, str]) -> None:
    found, recipe = read_conversion_recipe(name)
    assert found == name
    assert (recipe.weights, recipe.arithmetic, recipe.input_output) == numbers


def test_a_conversion_recipe_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('weights = "int8"\narithmetic = "int8"\ncalibration_images = 100\n')
    name, recipe = read_conversion_recipe(str(path))
    assert (name, recipe.calibration_images) == ("mine", 100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('weights = "int4"\narithmetic = "int8"\n', "weights: Input should be 'float32', 'float16' or 'int8'"),
        ('weights = "int8"\narithmetic = "int8"\nbits = 8\n', "bits: Extra inputs"),
        ('weights = "float16"\narithmetic = "int8"\n', "recipe: Value error, int8 arithmetic needs weights = 'int8'"),
        (
            'weights = "int8"\narithmetic = "float32"\ninput_output = "int8"\n',
            "recipe: Value error, int8 input_output needs arithmetic = 'int8'",
        ),
    ],
)
def test_conversion_recipes_that_make_no_sense(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"mine\.toml: {message}"):
        read_conversion_recipe(str(path))


def test_an_unknown_conversion_recipe_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'int4': no such file, and none of dynamic, float16, float32, int8, int8-fl"):
        read_conversion_recipe("int4")


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
