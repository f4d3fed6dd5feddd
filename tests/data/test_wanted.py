import numpy as np
import pytest

from t2a import storage
from t2a.data.skips import Skips
from t2a.data.wanted import Wanted, digest, read_wanted
from t2a.errors import DataError


def read(where: str, split: str | None = None, seed: int = 10) -> tuple[list[Wanted], Skips]:
    skips = Skips()
    return read_wanted(where, split, seed, skips), skips


def test_a_text_file_gives_a_clip_a_line_wherever_it_lies(place):
    where = f"{place}/captions.txt"
    storage.write_bytes(where, "\ufeffA dog barks.\n\n  Rain falls. \n".encode())
    assert read(where)[0] == [
        Wanted(id="000000", caption="A dog barks.", seed=10), Wanted(id="000002", caption="Rain falls.", seed=11),
    ]  # fmt: skip


def test_a_table_may_name_ids_seeds_and_splits(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text('id,caption,seed,split\na,"Rain, then wind.",,train\nb,,3,test\nc,A bell.,7,\n')
    wanted, skips = read(str(path))
    assert wanted == [
        Wanted(id="a", caption="Rain, then wind.", seed=10, split="train"), Wanted(id="c", caption="A bell.", seed=7),
    ]  # fmt: skip
    assert skips.counts == {"no caption": 1}
    assert [row.id for row in read(str(path), "train")[0]] == ["a", "c"]  # a row without a split is in any


def test_a_corpus_gives_the_first_caption_of_each_row_of_a_split(tones, tone):
    rows = [tone(i, split="test" if i > 3 else "train") for i in range(7)]
    uri, _ = tones(0, rows=rows)
    wanted, _ = read(uri, "test", seed=0)
    assert [(row.id, row.caption, row.seed, row.split) for row in wanted] == [
        (f"clip-{i:04d}", f"a tone, number {i}", i - 4, "test") for i in (4, 5, 6)
    ]
    assert len(read(uri)[0]) == 7


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "text\nrain\n", "no column `caption`: it has text"),
        ("a.csv", "id,caption\nx,rain\nx,wind\n", "id 'x' 2 times"),
        ("a.csv", "caption,seed\nrain,many\n", "a row cannot be used"),
        ("a.txt", " \n", "holds no caption"),
        ("a.txt", b"\xff\xfe\x00", "cannot be read as UTF-8"),
        ("a", "rain", "no corpus at"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, text, told):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=told):
        read(str(tmp_path / name))


def test_any_change_of_what_is_wanted_shows():
    rows = [Wanted(id=str(i), caption="rain", seed=i) for i in range(2)]
    others = [rows[:1], rows[::-1], [rows[0], rows[1].model_copy(update={"seed": 5})]]
    assert len({digest(found) for found in [rows, *others]}) == 4
    assert digest(rows) == digest(list(rows))
    assert np.unique([digest([])]).size == 1
