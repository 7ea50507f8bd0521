"""Text about scenes that nobody drew."""

import numpy as np
import pytest

from worldrl.data.captions import caption_of, captions_of, questions_of
from worldrl.errors import ConfigError
from worldrl.language.documents import documents, imagined_things, vocabulary
from worldrl.language.words import Words
from worldrl.scene import BASE, COLOURS, NAMES, NOVEL, SHAPES


def test_no_held_out_pair_is_ever_said_of_base_classes() -> None:
    text = " ".join(" ".join(document) for document in documents(200, seed=0))
    assert any(name in text for name in BASE)
    assert not any(name in text for name in NOVEL)


def test_a_document_has_one_list_of_all_things_and_its_answers_are_about_them() -> None:
    for document in documents(50, names=["red cube", "blue ball", "green can"], seed=1):
        lists = [sentence for sentence in document if sentence.startswith("a picture of") and " and " in sentence]
        assert lists
        said = " ".join(document)
        if "how many things" in said:
            count = sum(name in lists[0] for name in ("red cube", "blue ball", "green can"))
            assert f"there ? {('zero', 'one', 'two', 'three')[count]}" in said


def test_documents_follow_from_their_seed() -> None:
    assert list(documents(5, seed=3)) == list(documents(5, seed=3))
    assert list(documents(5, seed=3)) != list(documents(5, seed=4))


def test_the_vocabulary_has_every_word_of_captions_and_questions() -> None:
    words = Words(vocabulary())
    for word in (*SHAPES, *COLOURS, "six", "yes", "no"):
        words.read(word)
    rng = np.random.default_rng(0)
    for seed in range(100):
        things = imagined_things(NAMES, rng=rng)
        for text in (caption_of(things), *captions_of(things, seed=seed), *map(" ".join, questions_of(things))):
            words.read(text)


def test_one_name_is_too_few_for_a_scene() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        list(documents(1, names=["red cube"], seed=0))
