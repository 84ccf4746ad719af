"""Rows of the hostile-input tables: what is called, and the sentence or the result it must give."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest


class Refused(NamedTuple):
    """The call raises this kind of error, in one sentence that matches."""

    name: str
    call: Callable[[], Any]
    error: type[Exception]
    sentence: str


class Works(NamedTuple):
    """The call returns, and what it returns passes the check."""

    name: str
    call: Callable[[], Any]
    check: Callable[[Any], Any]


def rows(*table: Refused | Works) -> pytest.MarkDecorator:
    names = [row.name for row in table]
    assert len(set(names)) == len(names), "two rows of one name"
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in table])


def hold(row: Refused | Works) -> None:
    """Run one row."""
    if isinstance(row, Works):
        assert bool(row.check(row.call()))
        return
    with pytest.raises(row.error, match=row.sentence) as caught:
        row.call()
    message = str(caught.value)
    assert type(caught.value) is row.error, "a subclass leaks from a library below"
    assert "\n" not in message, "one line"
    assert len(message) < 400, "one sentence"
