from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from edge_fer.capture.picture_check import PictureChecks, PictureFacts, PictureSampler

CHANCE = np.random.default_rng(1)
ROOM = np.tile(np.linspace(20, 200, 160, dtype=np.uint8)[None, :, None], (120, 1, 3))
FPS = 10

GOOD, SAME = PictureFacts(same=False, brightness=90, contrast=40), PictureFacts(same=True, brightness=90, contrast=40)
BLACK = PictureFacts(same=True, brightness=0, contrast=0)
DIM = PictureFacts(same=False, brightness=14, contrast=40)  # between the two levels


def noisy(image: npt.NDArray[np.uint8], sigma: float = 3.0) -> npt.NDArray[np.uint8]:
    return np.clip(image + CHANCE.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)


def verdicts(*spans: tuple[PictureFacts, float], frozen_after_s: float = 10, dark_after_s: float = 5) -> list[str]:
    """What the checks say of spans of like pictures (facts, seconds): each change, as `second verdict`."""
    checks = PictureChecks(frozen_after_s=frozen_after_s, dark_after_s=dark_after_s)
    found, number = [(0.0, "good")], 0
    for facts, seconds in spans:
        for _ in range(round(seconds * FPS)):
            verdict = checks.update(facts, now_ns=number * 1_000_000_000 // FPS, first=number == 0)
            found.append((number / FPS, verdict[0] if verdict else "good"))
            number += 1
    return [f"{now[0]:g} {now[1]}" for before, now in pairwise(found) if now[1] != before[1]]


def test_the_noise_of_a_sensor_tells_a_still_room_from_a_frozen_picture() -> None:
    sampler = PictureSampler()
    frozen = noisy(ROOM)
    assert [sampler.look(image).same for image in (noisy(ROOM), noisy(ROOM), frozen, frozen.copy())] == [
        *(False, False, False),
        True,
    ]


def test_a_picture_of_another_size_is_another_picture() -> None:
    sampler = PictureSampler()
    sampler.look(np.zeros((120, 160, 3), np.uint8))
    assert not sampler.look(np.zeros((60, 80, 3), np.uint8)).same


def test_no_pixel_is_kept_once_it_is_to_be_forgotten() -> None:
    sampler = PictureSampler()
    sampler.look(ROOM)
    sampler.forget()
    assert not sampler.look(ROOM).same


@pytest.mark.parametrize(
    ("image", "shows_nothing"),
    [
        (noisy(ROOM), False),
        (noisy(np.full((120, 160, 3), 3, np.uint8)), True),  # a taped lens
        (noisy(np.full((120, 160, 3), 40, np.uint8), sigma=20), True),  # the same with its gain turned up
        (np.full((120, 160, 3), 255, np.uint8), True),  # dazzled
        (noisy((ROOM // 16).astype(np.uint8)), True),  # at night
        (noisy(np.maximum(ROOM // 16, np.where(np.arange(160) < 16, 140, 0)[None, :, None]).astype(np.uint8)), False),
    ],
    ids=["room", "taped", "taped with gain", "dazzled", "night", "a lit face in the night"],
)
def test_what_a_covered_lens_shows_is_told_from_a_room(image: npt.NDArray[np.uint8], *, shows_nothing: bool) -> None:
    facts = PictureSampler().look(image)
    checks = PictureChecks(frozen_after_s=0, dark_after_s=1)
    found = [checks.update(facts, now_ns=second * 1_000_000_000, first=False) for second in range(3)]
    assert (found[-1] is not None and found[-1][0] == "dark") is shows_nothing


def test_the_same_picture_is_frozen_in_its_time_and_back_after_a_second_of_others() -> None:
    assert verdicts((GOOD, 3), (SAME, 12), (GOOD, 3)) == ["12.9 frozen", "16 good"]


def test_a_single_other_picture_does_not_unfreeze() -> None:
    assert verdicts((GOOD, 1), (SAME, 10), (GOOD, 0.1), (SAME, 8), (GOOD, 0.1), (SAME, 8)) == ["10.9 frozen"]


def test_a_picture_that_comes_twice_is_not_frozen_and_a_frozen_camera_comes_back_with_such_pictures() -> None:
    twice = ((GOOD, 0.1), (SAME, 0.1)) * 100
    assert verdicts(*twice, (SAME, 12), *twice) == ["29.8 frozen", "33 good"]


def test_a_covered_lens_is_dark_in_its_time_and_back_after_a_second_of_light() -> None:
    assert verdicts((GOOD, 3), (BLACK, 30), (GOOD, 3)) == ["8 dark", "34 good"]


def test_a_camera_at_the_threshold_does_not_flap() -> None:
    dim_and_dark = ((DIM, 0.5), (BLACK, 0.5)) * 20
    assert verdicts((DIM, 20)) == []
    assert verdicts(*dim_and_dark) == []
    assert verdicts((BLACK, 6), *dim_and_dark, (DIM, 20)) == ["5 dark"]


def test_plain_black_is_dark_and_not_frozen_unless_darkness_is_not_looked_for() -> None:
    assert verdicts((BLACK, 60)) == ["5 dark"]
    assert verdicts((BLACK, 60), frozen_after_s=2) == ["5 dark"]
    assert verdicts((BLACK, 60), dark_after_s=0) == ["10 frozen"]


def test_each_check_can_be_switched_off() -> None:
    assert verdicts((SAME, 60), (BLACK, 60), frozen_after_s=0, dark_after_s=0) == []


def test_the_reason_says_what_was_found() -> None:
    checks = PictureChecks(frozen_after_s=10, dark_after_s=5)
    checks.update(PictureFacts(same=False, brightness=3.2, contrast=1), now_ns=0, first=True)
    dark = ("dark", "too dark (brightness 4 of 255) for 5 s: covered, or no light")
    assert checks.update(PictureFacts(same=False, brightness=4.4, contrast=1), now_ns=5 * 10**9, first=False) == dark
    assert checks.update(PictureFacts(same=False, brightness=9, contrast=1), now_ns=6 * 10**9, first=False) == dark


def test_a_camera_that_comes_back_as_it_went_is_not_called_good_first() -> None:
    checks = PictureChecks(frozen_after_s=10, dark_after_s=5)
    for second in range(8):
        checks.update(BLACK, now_ns=second * 10**9, first=False)
    again = checks.update(BLACK, now_ns=60 * 10**9, first=True)
    assert again is not None
    assert again[0] == "dark"
    assert checks.update(GOOD, now_ns=90 * 10**9, first=True) is None
