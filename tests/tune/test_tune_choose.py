"""The rule by which a way to run a network is chosen, as tables."""

from __future__ import annotations

import itertools

import pytest
from tunings import measured, way

from edge_fer.tune.choose import Goal, choose

LITERT_1, LITERT_2, LITERT_4 = "litert int8 1", "litert int8 2", "litert int8 4"
FLOAT_1, FLOAT_2, OTHER_1 = "litert float32 1", "litert float32 2", "tflite-runtime float32 1"


@pytest.mark.parametrize(
    ("story", "ms", "winner"),
    [
        ("the fastest of one thread each", {LITERT_1: 1.0, FLOAT_1: 2.0, OTHER_1: 3.0}, LITERT_1),
        ("a processor without int8 dot products", {LITERT_1: 12.0, FLOAT_1: 9.0}, FLOAT_1),
        # 1000 images/s alone, 1299 with two: 29.9 % more.
        ("a thread that brings too little", {LITERT_1: 1.0, LITERT_2: 0.77}, LITERT_1),
        # 1316: 31.6 % more.
        ("a thread that brings enough", {LITERT_1: 1.0, LITERT_2: 0.76}, LITERT_2),
        # 1000, 1800, 2300: threads 3 and 4 bring 25 % of one thread each.
        ("two threads more that bring too little", {LITERT_1: 1.0, LITERT_2: 1 / 1.8, LITERT_4: 1 / 2.3}, LITERT_2),
        # 1000, 1800, 2500: 35 % each.
        ("two threads more that bring enough", {LITERT_1: 1.0, LITERT_2: 1 / 1.8, LITERT_4: 1 / 2.5}, LITERT_4),
        # 1000, 1200 (too little), 2000: three threads more bring 33 % each.
        ("a step that pays only as a whole", {LITERT_1: 1.0, LITERT_2: 1 / 1.2, LITERT_4: 0.5}, LITERT_4),
        # A thread is worth what the fastest way does with one, not what a slow way does.
        ("a slow way that scales well", {LITERT_1: 1.0, FLOAT_1: 2.0, FLOAT_2: 0.9}, LITERT_1),
        ("equals: fewer threads, then by name", {LITERT_1: 1.0, FLOAT_1: 1.0}, FLOAT_1),
        ("only many threads were measured", {LITERT_4: 1.0}, LITERT_4),
    ],
)
def test_by_speed(story: str, ms: dict[str, float], winner: str) -> None:
    del story
    assert choose([measured(text, value) for text, value in ms.items()], "speed").way == way(winner)


@pytest.mark.parametrize(
    ("story", "ways", "winner"),
    [
        ("the fewest joules", {LITERT_1: (1.0, 0.004), LITERT_2: (0.5, 0.005)}, LITERT_1),
        ("more threads may save", {LITERT_1: (1.0, 0.005), LITERT_2: (0.5, 0.004)}, LITERT_2),
        ("within 5 % fewer threads win", {LITERT_1: (1.0, 0.00419), LITERT_2: (0.5, 0.004)}, LITERT_1),
        ("beyond 5 % they do not", {LITERT_1: (1.0, 0.00421), LITERT_2: (0.5, 0.004)}, LITERT_2),
        ("then the fastest", {LITERT_1: (1.0, 0.00404), FLOAT_1: (0.9, 0.0041), OTHER_1: (2.0, 0.004)}, FLOAT_1),
    ],
)
def test_by_energy(story: str, ways: dict[str, tuple[float, float]], winner: str) -> None:
    del story
    found = choose([measured(text, ms, joules) for text, (ms, joules) in ways.items()], "energy")
    assert found.way == way(winner)


@pytest.mark.parametrize(
    ("goal", "faster", "winner"),
    [
        # 100 images/s on the runtime that is loaded; the other gives 129, or 132.
        ("speed", 1 / 1.29, "litert"),
        ("speed", 1 / 1.32, "tflite-runtime"),
        # Joules follow the time here: 0.78 * 1.3 = 1.01 and 0.72 * 1.3 = 0.94, of which 5 % are not enough.
        ("energy", 0.78, "litert"),
        ("energy", 0.72, "tflite-runtime"),
    ],
)
def test_a_second_runtime_must_be_worth_its_memory(goal: Goal, faster: float, winner: str) -> None:
    ways = [measured("litert - 1", 10.0, 0.01), measured("tflite-runtime - 1", 10.0 * faster, 0.01 * faster)]
    assert choose(ways, goal, beside="litert").way.runtime == winner
    assert choose(ways, goal).way.runtime == "tflite-runtime"


@pytest.mark.parametrize("goal", ["speed", "energy"])
def test_the_order_of_the_measurements_decides_nothing(goal: Goal) -> None:
    ways = [
        measured(LITERT_1, 1.0, 0.004),
        measured(LITERT_2, 0.7, 0.004),
        measured(FLOAT_1, 1.0, 0.0041),
        measured(OTHER_1, 1.0, 0.004),
    ]
    assert len({choose(order, goal) for order in itertools.permutations(ways)}) == 1


def test_the_reason_is_told_in_words_with_its_figures() -> None:
    two = [measured(LITERT_1, 0.25, 0.002), measured(LITERT_2, 0.2, 0.003)]
    assert choose(two, "speed").why == (
        "4000 images/s, 0.25 ms; litert int8, 2 threads would bring 5000: less than 30% of a thread for each more"
    )
    assert choose(two[:1], "speed").why == "fastest of 1: 4000 images/s, 0.25 ms"
    assert choose(two, "energy").why == (
        "least energy of 2: 2 mJ an image above the idle floor; 4000 images/s, 0.25 ms"
    )
    beside = [measured("litert - 1", 1.0), measured("tflite-runtime - 1", 0.9)]
    assert "not enough for a second runtime in memory" in choose(beside, "speed", beside="litert").why


def test_what_cannot_be_decided_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        choose([], "speed")
    with pytest.raises(ValueError, match="joules"):
        choose([measured(LITERT_1, 1.0, 0.001), measured(LITERT_2, 1.0)], "energy")
    with pytest.raises(ValueError, match="joules"):  # below the idle floor is only noise
        choose([measured(LITERT_1, 1.0, -0.001)], "energy")
