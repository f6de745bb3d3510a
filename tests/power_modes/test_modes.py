"""Which modes a board has, and which one is meant by what a person writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from powerboard import STATUS, Board

from edge_fer.errors import EdgeFerError, UnavailableError, UsageError
from edge_fer.power_modes.choose import PREFERRED, NoModesError, choose_mode, others_of_budget
from edge_fer.power_modes.mode import PowerMode
from edge_fer.power_modes.modes import CAPS_ONLY, NOTHING, PowerModes, open_power_modes
from edge_fer.power_modes.nvpmodel import budget_w, parse_answer, parse_conf
from edge_fer.sensors.machine import Machine

Boards = Callable[[str], Board]

SET_NOW = {
    "jetson-nano": "0 MAXN",
    "jetson-agx-xavier": "7 MODE_15W_DESKTOP",
    "jetson-xavier-nx": "5 MODE_10W_DESKTOP",
    "jetson-orin-nano": "0 15W",
    "jetson-orin-nx": "2 15W",
    "jetson-agx-orin": "2 MODE_30W",
}


@pytest.mark.parametrize(("name", "current"), SET_NOW.items())
def test_a_jetson_is_in_the_default_mode_of_its_list_with_the_cores_and_clock_of_it(
    board: Boards, name: str, current: str
) -> None:
    jetson = board(name)
    modes = jetson.modes()
    found = modes.current()
    assert (modes.kind, str(found), modes.why_none) == ("nvpmodel", current, "")
    assert found is not None
    assert found.default
    assert not found.needs_reboot
    assert f"{found.cpu_max_mhz:.1f}" == f"{int(jetson.cap()) / 1000:.1f}"
    first, last = jetson.online.split("-")
    assert (first, int(last) + 1) == ("0", found.cores)


def test_the_list_has_budgets_cores_clocks_and_what_needs_a_reboot(xavier: Board) -> None:
    found = [(mode.id, mode.name, mode.budget_w, mode.cores, mode.cpu_max_mhz) for mode in xavier.modes().modes]
    assert found == [
        (0, "MAXN", None, 8, 2265.6),
        (1, "MODE_10W", 10, 2, 1200),
        (2, "MODE_15W", 15, 4, 1200),
        (3, "MODE_30W_ALL", 30, 8, 1200),
        (4, "MODE_30W_6CORE", 30, 6, 1450),
        (5, "MODE_30W_4CORE", 30, 4, 1780),
        (6, "MODE_30W_2CORE", 30, 2, 2100),
        (7, "MODE_15W_DESKTOP", 15, 4, 2188.8),
    ]
    assert [mode.name for mode in xavier.modes().modes if mode.needs_reboot] == ["MODE_10W"]


def test_what_needs_a_reboot_depends_on_the_mode_that_is_set(xavier: Board) -> None:
    status = xavier.root / STATUS
    status.parent.mkdir(parents=True)
    status.write_text("pmode:0001 fmode:quiet\n")
    assert xavier.current == "1 MODE_10W"
    assert [mode.id for mode in xavier.modes().modes if not mode.needs_reboot] == [1]


@pytest.mark.parametrize(
    ("name", "wanted", "meant"),
    [
        ("jetson-agx-xavier", "15W", "2 MODE_15W"),
        ("jetson-agx-xavier", "30W", "3 MODE_30W_ALL"),
        ("jetson-agx-xavier", "10W", "1 MODE_10W"),
        ("jetson-agx-xavier", "MODE_15W_DESKTOP", "7 MODE_15W_DESKTOP"),
        ("jetson-agx-xavier", "7", "7 MODE_15W_DESKTOP"),
        ("jetson-agx-xavier", "MAXN", "0 MAXN"),
        ("jetson-xavier-nx", "15W", "2 MODE_15W_6CORE"),
        ("jetson-xavier-nx", "10W", "4 MODE_10W_4CORE"),
        ("jetson-orin-nano", "15W", "0 15W"),
        ("jetson-orin-nano", "7W", "1 7W"),
        ("jetson-nano", "5W", "1 5W"),
        ("raspberry-pi-4", "1200MHz", "1200MHz"),
    ],
)
def test_a_name_an_id_and_a_budget_are_understood(board: Boards, name: str, wanted: str, meant: str) -> None:
    assert str(choose_mode(board(name).modes(), wanted, name)) == meant


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (
            "15",
            "there is no power mode '15'; did you mean 15W?; this board has 0 MAXN, 1 MODE_10W (needs a reboot), 2 ",
        ),
        ("15 w", "'15 w'; did you mean 15W?"),
        ("15w", "'15w'; did you mean 15W?"),
        ("maxn", "'maxn'; did you mean MAXN?"),
        ("MODE_15", "'MODE_15'; did you mean MODE_15W?"),
        ("banana", "'banana'; this board has 0 MAXN"),
        ("", "''; this board has"),
        ("20W", "'20W'; "),
        ("99", "'99'; this board has"),
        ("-1", "'-1'; this board has"),
        ("15W\n", r"'15W\n'; did you mean 15W?"),
        ("x" * 500, "xxx...'; this board has"),
    ],
)
def test_what_does_not_exist_is_told_with_all_that_does_and_the_nearest(xavier: Board, wanted: str, told: str) -> None:
    with pytest.raises(UsageError) as err:
        choose_mode(xavier.modes(), wanted, "jetson-agx-xavier")
    assert told in str(err.value)
    assert "7 MODE_15W_DESKTOP (default); give a name, an id, or a budget such as 10W" in str(err.value)
    assert len(str(err.value).splitlines()) == 1


def test_a_budget_of_several_modes_is_asked_back_on_a_board_without_a_preference(xavier: Board) -> None:
    with pytest.raises(
        UsageError, match=r"is 2 modes of this board: 2 MODE_15W, 7 MODE_15W_DESKTOP .default.; name one"
    ):
        choose_mode(xavier.modes(), "15W", "unknown")


def test_the_others_of_a_budget_are_told_too(xavier: Board) -> None:
    modes = xavier.modes()
    assert [str(mode) for mode in others_of_budget(modes, xavier.mode("MODE_15W"))] == ["7 MODE_15W_DESKTOP"]
    assert others_of_budget(modes, xavier.mode("MAXN")) == ()


def test_the_preferred_modes_exist(board: Boards) -> None:
    for name, preferred in PREFERRED.items():
        modes = {mode.name: mode for mode in board(name).modes().modes}
        assert [modes[mode].budget_w for mode in preferred.values()] == list(preferred)


def test_a_board_without_nvpmodel_has_caps_of_its_clock_which_are_no_watts(board: Boards) -> None:
    modes = board("raspberry-pi-4").modes()
    assert (modes.kind, modes.why_none) == ("frequency-cap", CAPS_ONLY)
    assert [mode.name for mode in modes.modes][-2:] == ["1700MHz", "1800MHz"]
    assert {mode.budget_w for mode in modes.modes} == {None}
    assert str(modes.current()) == "1800MHz"
    with pytest.raises(NoModesError, match=r"power mode 15W: this board has no watt budgets .*: 600MHz, 700MHz"):
        choose_mode(modes, "15W")
    with pytest.raises(UsageError, match="did you mean 1200MHz"):
        choose_mode(modes, "1200mhz")


def test_a_pc_without_a_list_of_clocks_has_three_caps(board: Boards) -> None:
    # cpuinfo_max_freq is 4,200,000 kHz: half and three quarters of it, in whole 100 MHz, and all.
    assert [mode.name for mode in board("pc-rapl").modes().modes] == ["2100MHz", "3100MHz", "4200MHz"]


def test_a_machine_with_nothing_says_so(board: Boards) -> None:
    modes = board("bare").modes()
    assert (modes.kind, modes.modes, modes.current(), modes.why_none) == (None, (), None, NOTHING)
    with pytest.raises(NoModesError, match="power mode 15W: this machine has neither"):
        choose_mode(modes, "15W")
    with pytest.raises(UsageError, match="no power mode 'banana'; this machine has neither"):
        choose_mode(modes, "banana")


@pytest.mark.parametrize(
    ("conf", "why"),
    [
        ("", "defines no power mode"),
        ("\0\0\0", "defines no power mode"),
        ("< POWER_MODEL NAME=MAXN >\n", "line 1: a POWER_MODEL without ID or NAME"),
        ("# x\n< POWER_MODEL ID=x NAME=MAXN >\n", "line 2: a POWER_MODEL without ID or NAME"),
    ],
)
def test_a_broken_list_is_told_and_not_taken_for_a_board_without_modes(xavier: Board, conf: str, why: str) -> None:
    (xavier.machine.etc / "nvpmodel.conf").write_text(conf)
    modes = xavier.modes()
    assert modes.kind is None
    assert why in modes.why_none
    assert "nvpmodel.conf" in modes.why_none


def test_without_the_program_the_state_file_tells_the_mode(xavier: Board) -> None:
    (xavier.root / STATUS).parent.mkdir(parents=True)
    (xavier.root / STATUS).write_text("pmode:0003 fmode:quiet\n")
    modes = open_power_modes(Machine(xavier.root, path=""))
    assert str(modes.current()) == "3 MODE_30W_ALL"
    (xavier.root / STATUS).write_text("garbage")
    assert modes.current() is None


def test_the_nvpmodel_of_another_board_is_not_believed(xavier: Board, board: Boards) -> None:
    other = board("jetson-orin-nano")
    modes = open_power_modes(Machine(xavier.root, path=other.machine.path))
    assert modes.current() is None
    assert modes.backend is not None
    with pytest.raises(UnavailableError, match=r"says that mode 0 15W is set, which .*nvpmodel.conf does not have"):
        modes.backend.set(modes.modes[2])
    assert not (other.root / STATUS).exists()


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("NV Power Mode: MODE_15W\n2\n", ("MODE_15W", 2)),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN\n0\n", ("MAXN", 0)),
        ("NV Fan Mode:quiet\nNV Power Mode: MODE_15W_6CORE\n2\n", ("MODE_15W_6CORE", 2)),
        ("NV Power Mode: MAXN\nNVPM WARN: something\n0\n", ("MAXN", 0)),
        ("NV Power Mode: MAXN\n", ("MAXN", None)),
        ("NVPM ERROR: failed to query\n", ("", None)),
        ("", ("", None)),
    ],
)
def test_the_answer_of_nvpmodel_is_found_between_its_warnings(said: str, found: tuple[str, int | None]) -> None:
    assert parse_answer(said) == found


@pytest.mark.parametrize(
    ("name", "watts"),
    [("MODE_15W", 15), ("5W", 5), ("MODE_30W_ALL", 30), ("MODE_7.5W", 7.5), ("MAXN", None), ("MAXN_SUPER", None)],
)
def test_the_budget_is_in_the_name(name: str, watts: float | None) -> None:
    assert budget_w(name) == watts


WORDS = st.sampled_from(
    ["< POWER_MODEL ID=", "²", "0", " NAME=", "A", " >", "\n", "CPU_ONLINE CORE_", " 1", "< PARAM ", "x"]
)


@given(st.text() | st.lists(WORDS).map("".join))
def test_no_list_whatever_is_in_it_ends_the_program(text: str) -> None:
    told = ""
    try:
        assert parse_conf(text).modes
    except UnavailableError as err:
        told = str(err)
    assert told == "" or told.startswith("nvpmodel.conf")


@given(st.text() | st.sampled_from(["2", "15W", "MODE_15W", "²", "15W ", "\u0661\u0665W"]))
def test_no_word_ends_the_program(wanted: str) -> None:
    mode = PowerMode("nvpmodel", 2, "MODE_15W", budget_w=15)

    class Backend:
        kind = "nvpmodel"
        modes = (mode,)

    told = ""
    try:
        choose_mode(PowerModes(Machine(Path("/nowhere")), Backend(), ""), wanted)  # type: ignore[arg-type]
    except EdgeFerError as err:
        told = str(err)
    assert (told == "") == (wanted in ("2", "MODE_15W", "15W", "15.0W", "15.00W", "015W", "0015W"))
    assert len(told.splitlines()) <= 1
