from __future__ import annotations

import pytest

from deploy.target import Target, parse_target
from edge_fer.errors import UsageError


@pytest.mark.parametrize(
    ("text", "target", "login", "rsync_login"),
    [
        ("board.lan", Target("board.lan"), "board.lan", "board.lan"),
        ("pi@192.0.2.7", Target("192.0.2.7", "pi"), "pi@192.0.2.7", "pi@192.0.2.7"),
        ("pi@board:2222", Target("board", "pi", 2222), "pi@board", "pi@board"),
        ("root@[2001:db8::7]:22", Target("2001:db8::7", "root", 22), "root@2001:db8::7", "root@[2001:db8::7]"),
        ("[fe80::1%eth0]", Target("fe80::1%eth0"), "fe80::1%eth0", "[fe80::1%eth0]"),
    ],
)
def test_what_a_user_gives_is_what_ssh_and_rsync_get(text: str, target: Target, login: str, rsync_login: str) -> None:
    assert parse_target(text) == target
    assert str(target) == text
    assert target.login == login
    assert target.rsync_login == rsync_login


@pytest.mark.parametrize(
    "text",
    ["pi@", "@board", "pi@board:", "pi@board:0", "pi@board:65536", "a b", "ssh://pi@board", "pi@board/x", "-oProxy=x"],
)
def test_what_is_no_host_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(UsageError, match=r"HOST=\[user@\]address\[:port\]") as caught:
        parse_target(text)
    assert repr(text) in str(caught.value)


def test_an_option_of_ssh_is_no_user() -> None:
    with pytest.raises(UsageError):
        parse_target("-oProxyCommand=x@board")


def test_a_missing_host_is_told_as_such() -> None:
    with pytest.raises(UsageError, match="no host: give HOST="):
        parse_target("")
