import json

import numpy as np
import pyarrow as pa
import pytest

from t2a.data.schema import (
    AUDIO_SCHEMA,
    CODES_SCHEMA,
    AudioRow,
    CodesRow,
    full_schema,
    pack_codes,
    pack_latents,
    unpack_codes,
    unpack_latents,
)


def test_an_audio_row_fits_its_schema():
    row = AudioRow("a", b"fLaC", "a.flac", 16000, 1, 0.5, ["A beep."], "here", "CC0", "train", {"category": "alerts"})
    values = row.to_dict()
    table = pa.Table.from_pylist([values], schema=full_schema("audio", values))
    assert table.to_pylist() == [values]
    assert table.schema.names == [*AUDIO_SCHEMA.names, "category"]
    assert values["audio"] == {"bytes": b"fLaC", "path": "a.flac"}


def test_a_codes_row_fits_its_schema_and_comes_back():
    codes = np.arange(8).reshape(2, 4) * 9000
    values = CodesRow("a", codes, 50.0, 0.08, ["A beep."], "here", "CC0", "train").to_dict()
    table = pa.Table.from_pylist([values], schema=full_schema("codes", values))
    assert table.schema.equals(CODES_SCHEMA)
    np.testing.assert_array_equal(unpack_codes(table.to_pylist()[0]["codes"]), codes)


def test_codes_are_little_endian_and_in_c_order():
    assert pack_codes(np.array([[1, 258], [3, 4]]).T.copy().T) == {
        "bytes": bytes([1, 0, 2, 1, 3, 0, 4, 0]),
        "codebooks": 2,
    }


@pytest.mark.parametrize("codes", [np.zeros(4, int), np.array([[70000]]), np.array([[-1]])])
def test_what_is_no_code_array_is_refused(codes):
    with pytest.raises(ValueError, match="65535"):
        pack_codes(codes)


def test_bytes_that_are_no_whole_frames_are_refused():
    with pytest.raises(ValueError, match="whole number of frames"):
        unpack_codes({"bytes": bytes(6), "codebooks": 2})


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5), (2, 0)])
def test_latents_come_back_as_float16(shape):
    latents = np.random.default_rng(0).standard_normal(shape).T.copy().T  # not in C order
    cell = pack_latents(latents)
    assert (cell["shape"], len(cell["bytes"])) == (list(shape[:-1]), 2 * latents.size)
    np.testing.assert_array_equal(unpack_latents(cell), latents.astype(np.float16))


@pytest.mark.parametrize("latents", [np.zeros(4), np.full((1, 1), 1e6), np.full((1, 1), np.nan)])
def test_latents_that_cannot_be_stored_are_refused(latents):
    with pytest.raises(ValueError, match="within the range of float16"):
        pack_latents(latents)


def test_the_audio_column_is_marked_for_hugging_face():
    note = json.loads(full_schema("audio", {"mood": "calm"}).metadata[b"huggingface"])
    assert note["info"]["features"] == {"audio": {"_type": "Audio"}}


def test_free_columns_take_the_types_of_their_values():
    schema = full_schema("audio", {"pitch": 440.0, "takes": 2, "tags": ["a"]})
    assert [schema.field(n).type for n in ("pitch", "takes", "tags")] == [
        pa.float64(),
        pa.int64(),
        pa.list_(pa.string()),
    ]
