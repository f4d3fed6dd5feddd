from t2a.tasks.conditioning import derange


def test_every_row_gets_another_caption_where_there_is_one():
    assert derange(["a", "a", "b", "", "c"]) == [2, 2, 4, 4, 0]
    assert derange(["a", "a"]) == [0, 1]
