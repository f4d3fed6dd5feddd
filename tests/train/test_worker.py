"""What a worker shares with the others of its machine."""

from t2a.train.worker import _users


def test_a_folder_that_another_rank_has_just_removed_is_used_by_nobody(tmp_path):
    (tmp_path / "pid-12").touch()
    (tmp_path / "rank-0").mkdir()
    assert _users(tmp_path) == ["12"]
    assert _users(tmp_path / "gone") == []
