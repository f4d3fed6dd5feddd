import dataclasses

import pytest

from t2a.data.corpora.request import Request


def test_each_request_counts_what_it_leaves_out_by_itself():
    first, second = Request(), Request()
    first.skips.skip("silent", "a.wav")
    assert (first.skips.skipped, second.skips.skipped) == (1, 0)


def test_a_request_shows_nothing_unless_it_is_given_a_bar(capfd):
    with Request().progress as bar:
        bar.update(bar.add_task("download", total=2), completed=1)
        bar.refresh()
    assert capfd.readouterr() == ("", "")


def test_a_request_does_not_change_while_it_is_met():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Request().count = 3
