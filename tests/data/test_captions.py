import pytest

from t2a.data.captions import STOP_WORDS, CaptionConfig, caption, join, normalise, said
from t2a.data.skips import UnusableError

ANY = CaptionConfig()


def test_a_caption_is_drawn_among_those_that_say_something():
    row = {"captions": ["a", " ", None, "b", ""]}
    assert {caption(row, where / 10, ANY) for where in range(10)} == {"a", "b"}
    assert {caption(row, where / 10, CaptionConfig(choose="first")) for where in range(10)} == {"a"}
    assert caption({"captions": None}, 0.5, CaptionConfig(needed=False)) == ""
    for captions in (None, [], [" "]):
        with pytest.raises(UnusableError, match="no caption"):
            caption({"captions": captions}, 0.5, ANY)


def test_an_excluded_word_in_any_caption_makes_the_row_unusable():
    row = {"captions": ["Birds sing.", "Birds; a man's Speech."]}
    with pytest.raises(UnusableError, match="caption with 'speech'"):
        caption(row, 0.0, CaptionConfig(exclude=("music", "speech")))
    assert caption(row, 0.0, CaptionConfig(exclude=("speechless", "bird"))) == "Birds sing."


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({}, "The DOG's bark, 2.5 times:  well-known & (loud)!"),
        ({"lower": True}, "the dog's bark, 2.5 times:  well-known & (loud)!"),
        ({"strip_punctuation": True}, "The DOG's bark 2.5 times well-known loud"),
        ({"drop_stop_words": True}, "DOG's bark, 2.5 times: well-known & (loud)!"),
        ({"lower": True, "strip_punctuation": True, "drop_stop_words": True}, "dog's bark 2.5 times well-known loud"),
    ],
)
def test_a_caption_is_written_as_asked(options, written):
    assert normalise("The DOG's bark, 2.5 times:  well-known & (loud)!", CaptionConfig(**options)) == written


def test_other_scripts_keep_their_letters():
    assert normalise("कुत्ता भौंकता है।", CaptionConfig(strip_punctuation=True)) == "कुत्ता भौंकता है"
    assert normalise("犬が吠える。", CaptionConfig(strip_punctuation=True)) == "犬が吠える"


def test_words_of_order_and_relation_are_no_stop_words():
    assert not STOP_WORDS & {"and", "before", "after", "while", "then", "with", "without", "no", "not", "over", "in"}
    only = CaptionConfig(drop_stop_words=True)
    assert normalise("It is a the", only) == "It is a the"
    assert normalise("A dog barks, and there is THE rain", only) == "dog barks, and rain"


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("A dog barks.", "Rain falls on a roof.", "A dog barks and rain falls on a roof."),
        ("a bell", "a car", "a bell and a car"),
        ("Wind!? ", " TV noise", "Wind and TV noise"),
        ("Steps", "I hear a cat", "Steps and I hear a cat"),
        ("", "A car.", "A car."),
        ("A car.", " ", "A car."),
        ("A car", "a car", "A car"),
    ],
)
def test_a_mixture_tells_of_both_sounds(first, second, both):
    assert join(first, second) == both


def test_all_that_is_said_of_a_row_is_written_as_its_caption_is():
    row = {"captions": ["A dog, barking.", " ", None, "a dog barking", "Rain."]}
    assert said(row, CaptionConfig(lower=True, strip_punctuation=True)) == ["a dog barking", "rain"]
    assert said({"captions": None}, CaptionConfig(needed=False)) == []
