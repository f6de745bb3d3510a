from __future__ import annotations

from edge_fer.tracking.turns import Turns


def test_a_few_faces_are_all_read_in_every_frame() -> None:
    turns = Turns(8)
    assert [turns.take([3, 1, 2]) for _ in range(3)] == [{1, 2, 3}] * 3


def test_twenty_faces_take_turns_and_each_is_read_as_often() -> None:
    turns = Turns(8)
    read = [turns.take(range(20)) for _ in range(5)]
    assert [len(chosen) for chosen in read] == [8] * 5
    assert [sum(number in chosen for chosen in read) for number in range(20)] == [2] * 20


def test_a_new_face_goes_first_and_one_that_was_hidden_has_waited() -> None:
    turns = Turns(2)
    assert turns.take([1, 2, 3]) == {1, 2}
    assert turns.take([1, 2, 4]) == {1, 4}
    assert turns.take([1, 2, 3, 4]) == {2, 3}


def test_who_has_left_is_forgotten() -> None:
    turns = Turns(1)
    turns.take([1])
    turns.forget([1, 7])
    assert turns._last == {}
