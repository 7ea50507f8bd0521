"""Text to pieces of words, as uncased BERT cuts it."""

import unicodedata
from collections.abc import Iterator, Sequence

from worldrl.errors import CheckpointError

UNKNOWN, START, END = "[UNK]", "[CLS]", "[SEP]"
INSIDE = "##"
"""Marks a piece that does not begin a word."""
MAX_LETTERS = 100
"""A longer word is unknown as a whole."""
UNSEEN = ("Cc", "Cf", "Co", "Cs")
"""Unicode's categories of what is dropped; a letter too new for Python's tables is kept, and unknown."""
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""Ranges of code points that are words of their own: Chinese is written without spaces."""


class WordPiece:
    """A tokenizer over a fixed vocabulary: the longest piece first, from left to right.

    Letters lose their case and their accents; punctuation and Chinese ideographs stand alone; control characters
    vanish. Text is only text: ``[MASK]`` in it is a word between brackets, not a special token.

    Source: Devlin et al. 2019 (arXiv:1810.04805), its uncased vocabulary; Wu et al. 2016, section 4.1
    (arXiv:1609.08144), for the pieces.

    Args:
        words: The vocabulary; the place of a piece is its number.

    Raises:
        CheckpointError: If the vocabulary lacks one of ``[UNK]``, ``[CLS]`` and ``[SEP]``.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.numbers = {word: i for i, word in enumerate(words)}
        missing = [word for word in (UNKNOWN, START, END) if word not in self.numbers]
        if missing:
            raise CheckpointError(f"the vocabulary must have {', '.join(missing)}: install the weights again.")

    def __call__(self, text: str) -> list[int]:
        """Return the numbers of the pieces of a text, between those of ``[CLS]`` and ``[SEP]``."""
        return [self.numbers[piece] for piece in (START, *self.pieces(text), END)]

    def pieces(self, text: str) -> list[str]:
        """Return the pieces of a text, without the two around it."""
        return [piece for word in words_of(text) for piece in self._cut(word)]

    def _cut(self, word: str) -> list[str]:
        """Cut a word into pieces; one that cannot be cut without a rest is unknown."""
        found: list[str] = []
        start = 0
        while start < len(word) <= MAX_LETTERS:
            ends = range(len(word), start, -1)
            prefix = INSIDE if start else ""
            end = next((end for end in ends if prefix + word[start:end] in self.numbers), None)
            if end is None:
                return [UNKNOWN]
            found.append(prefix + word[start:end])
            start = end
        return found or [UNKNOWN]


def words_of(text: str) -> Iterator[str]:
    """Yield the words of a text in small letters without accents; punctuation and ideographs are words."""
    spaced = "".join(_spaced(letter) for letter in text)
    bare = "".join(letter for letter in unicodedata.normalize("NFD", spaced) if unicodedata.category(letter) != "Mn")
    small = "".join(letter.lower() for letter in bare)  # letter by letter: no final sigma
    for run in small.split():
        start = 0
        for i, letter in enumerate(run):
            if _is_punctuation(letter):
                if start < i:
                    yield run[start:i]
                yield letter
                start = i + 1
        if start < len(run):
            yield run[start:]


def _spaced(letter: str) -> str:
    """Return a letter, a space for white space, nothing for what is not to be seen, and room around an ideograph."""
    if letter in "\t\n\r":
        return " "
    if letter == "\ufffd" or unicodedata.category(letter) in UNSEEN:
        return ""
    if letter.isspace():
        return " "
    return f" {letter} " if any(low <= ord(letter) <= high for low, high in IDEOGRAPHS) else letter


def _is_punctuation(letter: str) -> bool:
    """Return whether a letter is punctuation to Unicode, or one of ASCII's symbols."""
    ascii_symbol = "!" <= letter <= "~" and not letter.isalnum()
    return ascii_symbol or unicodedata.category(letter).startswith("P")
