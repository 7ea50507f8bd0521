"""Classes are means of sentences, pictures go to the nearest, and what is found first is counted."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import ConfigError
from worldrl.language.zero_shot import classify, recall_at, retrieval, zero_shot_classifier


class Letters:
    """Towers in which a text is how often it says each letter; none of it is of unit length."""

    def images(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        return torch.zeros(len(frames), 26)

    def texts(self, texts: Sequence[str], context: Tensor | None = None) -> Tensor:
        return torch.stack([torch.tensor([float(text.count(chr(97 + i))) for i in range(26)]) for text in texts])


def test_a_class_is_the_normalised_mean_of_its_normalised_sentences() -> None:
    classes = zero_shot_classifier(Letters(), ["red cube", "orange"], ["see {} bbbb", "{}"])
    said = Letters().texts(["see a red cube bbbb", "a red cube", "see an orange bbbb", "an orange"])
    unit = F.normalize(said, dim=-1)
    expected = F.normalize(torch.stack([unit[:2].mean(dim=0), unit[2:].mean(dim=0)]), dim=-1)
    assert torch.allclose(classes, expected)


def test_a_picture_goes_to_the_class_that_it_is_nearest_to() -> None:
    classes = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), dim=-1)
    assert classify(F.normalize(torch.tensor([[3.0, 1.0], [1.0, 2.0]]), dim=-1), classes).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("names", "templates", "sentence"),
    [
        ([], ["{}"], "names must be a list of at least one"),
        (["red cube", " "], ["{}"], "names must not be empty"),
        (["red cube", "Red Cube"], ["{}"], "names must differ, got 'red cube' 2 times"),
        (["red cube"], [], "templates must be a list of sentences"),
        (["red cube"], ["a photo"], "templates must be a list of sentences"),
        (["red cube"], "{}", "templates must be a list of sentences"),
    ],
)
def test_names_and_templates_that_cannot_be_are_refused(names: list[str], templates: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        zero_shot_classifier(Letters(), names, templates)


def test_recall_counts_those_who_find_something_right_among_the_nearest() -> None:
    queries = torch.eye(3)
    found = torch.tensor([[0.9, 0.8, 0.1], [0.5, 0.9, 0.2], [0.1, 0.1, 0.3]])  # a row a candidate
    right = torch.tensor([[False, True, False], [False, True, False], [False, False, False]])
    # the first query finds 0 before 1; the second finds 1 before 0; the third has nothing that is right
    assert recall_at(queries, found, right, ranks=(1, 2)) == {1: 0.5, 2: 1.0}


def test_recall_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"right must be \(2, 2\) and somewhere true, got \(2, 2\), true 0 times"):
        recall_at(torch.eye(2), torch.eye(2), torch.zeros(2, 2, dtype=torch.bool))


def test_a_caption_that_says_the_same_as_ones_own_is_right_as_well() -> None:
    images = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    captions = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.9]])
    apart, same = retrieval(images, captions, ["a", "b", "c"]), retrieval(images, captions, ["a", "a", "c"])
    assert apart["text_at_1"] == pytest.approx(1 / 3)  # the second finds its own; the others find 1 and 0
    assert same["text_at_1"] == pytest.approx(2 / 3)
    assert apart["text_at_5"] == apart["image_at_5"] == 1.0
