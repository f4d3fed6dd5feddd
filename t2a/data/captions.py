"""The words of a row: which of its captions is taken, how it is written, and how those of a mixture are joined."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from t2a.config import Config
from t2a.data.skips import UnusableError

# Words without a sound. Those that tell an order or a relation (and, before, while, with, no) stay.
_WITHOUT_SOUND = """
    a an the this that these those some any such of to as at am is are was were be been being has have had having do
    does did it its he him his she her hers they them their i me my we us our you your which who whom whose what there
    here very just also too so can could will would shall should may might must
"""
STOP_WORDS = frozenset(_WITHOUT_SOUND.split())


class CaptionConfig(Config):
    """Captions of training and held-out rows (held-out rows always take the first).

    Prompts are not normalised at generation: write them as the model has seen its captions.
    """

    needed: bool = Field(True, description="whether a row without a caption is unusable")
    choose: Literal["random", "first"] = Field("random", description="which caption of several, drawn anew each epoch")
    lower: bool = False
    strip_punctuation: bool = Field(False, description="keep apostrophes, hyphens and decimal points within words")
    drop_stop_words: bool = Field(False, description="leave out English words without a sound, such as a, the, is")
    exclude: tuple[str, ...] = Field(
        (), description="rows with one of these words in any caption are unusable: give max_skipped room for them"
    )


def normal(caption: str) -> str:
    """A caption as it is compared with others: neither case nor edges make another one."""
    return caption.strip().lower()


def caption(row: Mapping[str, Any], where: float, config: CaptionConfig) -> str:
    """Pick one of a row's captions by `where` in [0, 1), as it is written.

    Raises UnusableError when one is needed and there is none, or when one has an excluded word.
    """
    captions = _captions(row)
    _check(captions, config.exclude)
    if captions:
        return captions[int(where * len(captions)) if config.choose == "random" else 0]
    if config.needed:
        raise UnusableError("no caption")
    return ""


def said(row: Mapping[str, Any], config: CaptionConfig) -> list[str]:
    """All that is said of a row's sound, as the config wants it written, each once."""
    return list(dict.fromkeys(normalise(text, config) for text in _captions(row)))


def normalise(text: str, config: CaptionConfig) -> str:
    """Write a caption as the config wants it; one of stop words alone keeps them."""
    text = text.lower() if config.lower else text
    text = " ".join(_without_punctuation(text).split()) if config.strip_punctuation else text
    if config.drop_stop_words:
        kept = [word for word in text.split() if _bare(word) not in STOP_WORDS]
        text = " ".join(kept) or text
    return text


def join(first: str, second: str) -> str:
    """Tell of two sounds at once: "A dog barks." and "Rain falls." make "A dog barks and rain falls."

    The first loses its closing marks, the second its capital unless the whole word has capitals. Where both say the
    same, or one says nothing, one is enough.
    """
    first, second = first.strip(), second.strip()
    if not (first and second) or first.casefold() == second.casefold():
        return first or second
    word = second.split()[0]
    as_it_is = word == "I" or (len(word) > 1 and word.isupper())
    second = second if as_it_is else second[0].lower() + second[1:]
    return f"{first.rstrip('.!?,;: ')} and {second}"


def _captions(row: Mapping[str, Any]) -> list[str]:
    return [text for text in row["captions"] or [] if text and text.strip()]


def _check(captions: Sequence[str], excluded: Sequence[str]) -> None:
    words = {_bare(word) for text in captions for word in text.split()} if excluded else set()
    for word in excluded:
        if word.casefold() in words:
            raise UnusableError(f"caption with '{word}'")


def _bare(word: str) -> str:
    return _without_punctuation(word).strip().casefold()


def _without_punctuation(text: str) -> str:
    """Put a space in the place of every mark that is not within a word or a number."""
    return "".join(" " if _is_mark(char) and not _within(text, i) else char for i, char in enumerate(text))


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] in "PS"


def _within(text: str, place: int) -> bool:
    """Tell whether a mark holds the letters or digits on both sides of it together, as in "car's" and "2.5"."""
    before, after = text[max(place - 1, 0) : place], text[place + 1 : place + 2]
    return (text[place] in "'’-" and before.isalnum() and after.isalnum()) or (
        text[place] in ".," and before.isdigit() and after.isdigit()
    )
