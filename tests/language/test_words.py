"""Texts as numbers of whole words."""

import pytest

from worldrl.errors import ConfigError, DataError
from worldrl.language.words import Words, words_of


def test_a_text_is_read_and_said_again() -> None:
    words = Words(words_of(["a picture of a red cube, a blue ball"]))
    assert words.say(words.read("A picture of a blue cube, a red ball")) == "a picture of a blue cube, a red ball"


def test_the_end_of_a_sentence_is_number_zero_and_nothing_is_said_after_it() -> None:
    words = Words(["red", "cube"])
    assert words.read("red cube") == [1, 2]
    assert words.say([1, 0, 2]) == "red"


@pytest.mark.parametrize("text", ["a red cube", "red <end>"])
def test_a_word_that_is_not_in_the_vocabulary_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="known words"):
        Words(["red", "cube"]).read(text)


@pytest.mark.parametrize("words", [[], ["red cube"], ["Red"], ["red", "red"], [""]])
def test_a_vocabulary_is_of_single_words_that_differ(words: list[str]) -> None:
    with pytest.raises(ConfigError):
        Words(words)
