"""What a text says of a scene."""

import numpy as np
import pytest

from worldrl.language.recall import chance, recall, said_in
from worldrl.scene import BASE, NOVEL, Thing


def thing(name: str) -> Thing:
    colour, shape = name.split()
    return Thing(shape, colour, np.array([0, 0, 1, 1]), np.zeros(3), np.ones(3), np.eye(3), 1.0)


def test_a_name_is_a_colour_with_a_shape_right_after_it() -> None:
    said = said_in("a picture of a red cube, a blue ball and a mug")
    assert said.names == {"red cube", "blue ball"}
    assert said.shapes == {"cube", "ball", "mug"} and said.colours == {"red", "blue"}


def test_shares_are_worked_out_by_hand() -> None:
    texts = ["a picture of a red ball, a red cube and a blue mug", "nothing"]
    found = recall(texts, [[thing("red cube"), thing("blue ball")], [thing("green can")]])
    assert found["objects"] == pytest.approx((1.0 + 0.0) / 2)
    assert found["colours"] == pytest.approx((1.0 + 0.0) / 2)
    assert found["pairs"] == pytest.approx((0.5 + 0.0) / 2)
    assert found["precision"] == pytest.approx((1 / 3 + 0.0) / 2)
    assert found["said"] == pytest.approx(1.5)


def test_held_out_pairs_are_counted_by_themselves() -> None:
    found = recall([f"a {NOVEL[0]}"], [[thing(BASE[0]), thing(NOVEL[0]), thing(NOVEL[1])]])
    assert found["base_pairs"] == 0.0 and found["novel_pairs"] == pytest.approx(0.5)


def test_there_must_be_one_text_for_each_scene() -> None:
    with pytest.raises(ValueError, match="one for each"):
        recall(["a"], [])


def test_chance_says_as_many_words_but_the_most_frequent_ones() -> None:
    seen = [[thing("red cube"), thing("red ball")], [thing("blue cube")]]  # cube twice, ball once; red and blue once
    scenes = [[thing("red cube"), thing("green ball")], [thing("white mug")], [thing("red cube")]]
    found = chance(["a red mug", "a red ball and a blue can", ""], scenes, seen)
    assert found["objects_chance"] == pytest.approx((0.5 + 0.0 + 0.0) / 3)  # cube; cube and ball; nothing
    assert found["pairs_chance"] <= 1 / 3 and found["colours_chance"] <= 0.5
