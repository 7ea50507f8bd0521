"""Texts as numbers, a word each: enough where all that is ever said comes from templates."""

from collections.abc import Iterable, Sequence

from worldrl.errors import ConfigError, DataError

END = "<end>"
"""Stands before the first sentence and after every one."""


def split(text: str) -> list[str]:
    """Return the words of a text in lower case; commas, full stops and question marks are words of their own."""
    for mark in ",.?":
        text = text.replace(mark, f" {mark} ")
    return text.lower().split()


class Words:
    """A vocabulary of whole words.

    Args:
        words: All but the end of a sentence, which is number 0; the ``i``-th has number ``i + 1``.

    Raises:
        ConfigError: If there is none, one is empty or has a space in it, or one stands there twice.
    """

    def __init__(self, words: Sequence[str]) -> None:
        if not words or any(split(word) != [word] for word in words):
            raise ConfigError("words must be at least one, each a single word in lower case.")
        if len(set(words)) != len(words):
            raise ConfigError("words must differ, got one of them twice.")
        self.words = (END, *words)
        self._numbers = {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def read(self, text: str) -> list[int]:
        """Return the numbers of the words of a text.

        Raises:
            DataError: If a word is not in the vocabulary.
        """
        words = split(text)
        unknown = [word for word in words if word not in self._numbers or word == END]
        if unknown:
            raise DataError(f"a text must be made of known words, got '{unknown[0]}' in '{text[:60]}'.")
        return [self._numbers[word] for word in words]

    def say(self, numbers: Iterable[int]) -> str:
        """Return the text of some numbers, up to the first end of a sentence; commas close up to their word."""
        said: list[str] = []
        for number in numbers:
            if number == 0:
                break
            said.append(self.words[number])
        return " ".join(said).replace(" ,", ",")


def words_of(texts: Iterable[str]) -> list[str]:
    """Return the words that some texts are made of, each once, in alphabetical order."""
    return sorted({word for text in texts for word in split(text)})
