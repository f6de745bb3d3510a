import numpy as np
import pytest
from pydantic import ValidationError

from converter.augment import Augmentation, augment, jpeg

FACE = np.tile(np.linspace(20, 230, 48).astype(np.uint8), (48, 1))
STILL = Augmentation(
    rotation_rad=0, scale=1, shift_px=0, blur_probability=0, low_resolution_probability=0,
    gamma=1, contrast=0, noise_probability=0, erase_probability=0,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(50))
def test_shape_and_type_stay_and_something_is_left_to_see(seed: int) -> None:
    changed = augment(FACE, np.random.default_rng(seed), Augmentation())
    assert changed.shape == (48, 48)
    assert changed.dtype == np.uint8
    assert np.ptp(changed) > 20


def test_the_same_seed_changes_alike() -> None:
    first, again, other = (augment(FACE, np.random.default_rng(seed), Augmentation()) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_original_is_untouched() -> None:
    face = FACE.copy()
    for seed in range(20):
        augment(face, np.random.default_rng(seed), Augmentation(erase_probability=1, noise_probability=1))
    assert np.array_equal(face, FACE)


def test_without_limits_only_mirror_and_brightness_are_left() -> None:
    changed = augment(FACE, np.random.default_rng(1), STILL).astype(int)
    upright = changed if changed[0, -1] > changed[0, 0] else changed[:, ::-1]
    shift = upright - FACE.astype(int)
    # Brightness moves every grey level alike, by up to 20; the table cuts fractions off, so two values next to
    # each other may occur.
    assert np.ptp(shift) <= 1
    assert abs(shift).max() <= 20


def test_a_strip_covers_one_side_up_to_the_middle() -> None:
    limits = STILL.model_copy(update={"strip_probability": 1.0})
    sides = set()
    for seed in range(40):
        changed = augment(FACE, np.random.default_rng(seed), limits)
        plain = augment(FACE, np.random.default_rng(seed), STILL)  # the strip is drawn after all else
        rows, columns = np.nonzero(changed != plain)
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        assert min(width, height) <= 24
        sides.add((rows.min() == 0, rows.max() == 47, columns.min() == 0, columns.max() == 47))
    assert len(sides) == 4


def test_jpeg_costs_detail() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    loss = [np.abs(jpeg(noise, quality).astype(int) - noise).mean() for quality in (95, 30)]
    assert loss[0] < loss[1]
    assert jpeg(noise, 30).shape == (48, 48)


def test_unknown_limits_are_refused() -> None:
    with pytest.raises(ValidationError, match="rotation_deg"):
        Augmentation.model_validate({"rotation_deg": 10})
