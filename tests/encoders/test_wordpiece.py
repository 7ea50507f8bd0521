"""A text is cut as uncased BERT cuts it."""

import pytest

from worldrl.encoders.wordpiece import WordPiece, words_of
from worldrl.errors import CheckpointError

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "push",
    "##ed",
    "##e",
    "the",
    "grab",
    "##ber",
    "cafe",
    "!",
    "你",
    "x",
    "##x",
]


@pytest.fixture(scope="module")
def tokenizer() -> WordPiece:
    return WordPiece(WORDS)


def test_a_text_stands_between_its_two_marks(tokenizer: WordPiece) -> None:
    assert tokenizer("the grabber") == [2, 7, 8, 9, 3]
    assert tokenizer("") == [2, 3]


def test_the_longest_piece_comes_first(tokenizer: WordPiece) -> None:
    assert tokenizer.pieces("pushed pushe") == ["push", "##ed", "push", "##e"]


def test_a_word_that_leaves_a_rest_is_unknown_as_a_whole(tokenizer: WordPiece) -> None:
    assert tokenizer.pieces("pushing the") == ["[UNK]", "the"]


def test_a_word_of_more_than_a_hundred_letters_is_unknown(tokenizer: WordPiece) -> None:
    assert tokenizer.pieces("x" * 100) == ["x", *["##x"] * 99]
    assert tokenizer.pieces("x" * 101) == ["[UNK]"]


def test_case_and_accents_make_no_difference(tokenizer: WordPiece) -> None:
    assert tokenizer.pieces("CAFÉ cafe\u0301 Café") == ["cafe"] * 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't stop-it (50%)", ["don", "'", "t", "stop", "-", "it", "(", "50", "%", ")"]),
        ("a`b $c¿", ["a", "`", "b", "$", "c", "¿"]),
        ("tab\tline\nend\u00a0wide\u2028", ["tab", "line", "end", "wide"]),
        ("so\u200bft \x0bno\x00ise\ufffd", ["soft", "noise"]),
        ("ab你好c", ["ab", "你", "好", "c"]),
        ("ひらがな", ["ひらかな"]),
        ("ΟΔΟΣ", ["οδοσ"]),
        ("[MASK]", ["[", "mask", "]"]),
    ],
)
def test_words_are_what_stands_between_spaces_and_punctuation(text: str, words: list[str]) -> None:
    assert list(words_of(text)) == words


def test_a_vocabulary_without_the_marks_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"must have \[CLS\], \[SEP\]: install"):
        WordPiece(["[UNK]", "a"])
