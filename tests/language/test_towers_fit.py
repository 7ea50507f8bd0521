"""Fitting of two towers: what captions mean, what counts as right, and that names are learned."""

from itertools import product

import numpy as np
import pytest
import torch

from worldrl.encoders.frozen import Encoder, load_encoder, seeded
from worldrl.errors import DataError, NumericsError
from worldrl.language.crops import View
from worldrl.language.image_tower import ImageTower
from worldrl.language.text_tower import TOLD, TextTower
from worldrl.language.towers_fit import Plan, Views, caption, contrast_loss, fit_towers, read_views, sentence
from worldrl.language.two_tower import Cells, TwoTower
from worldrl.language.zero_shot import classify, zero_shot_classifier

COLOURS, SHAPES = ("red", "green", "blue"), ("cube", "ball", "can")
SEEN = tuple(f"{colour} {shape}" for colour, shape in product(COLOURS, SHAPES) if (colour, shape) != ("blue", "ball"))
EMPTY = np.zeros((0, 0, 3), np.uint8)


@pytest.fixture(scope="module")
def stem() -> Encoder:
    encoder = load_encoder("efficientnet_lite0", layer=4, random_init=True)
    assert isinstance(encoder, Encoder)
    return encoder


def coded(names: tuple[str, ...], *, whole: bool = False, seed: int = 0) -> Views:
    """Return views of four cells, whose first shows a colour in three numbers and a shape in three others."""
    rng = np.random.default_rng(seed)
    rows, views = 0.1 * torch.from_numpy(rng.standard_normal((len(names), 4, 6))).float(), []
    for i, name in enumerate(names):
        colour, shape = name.split()
        rows[i, 0, COLOURS.index(colour)] = rows[i, 0, 3 + SHAPES.index(shape)] = 2.0
        views.append(View(EMPTY, (name,), np.array([[0.0, 0.0, 0.5, 0.5]]), -1 if whole else 0))
    return Views(Cells(rows.half(), (2, 2)), views)


def fit(stem: Encoder, *, steps: int, dense: float = 1.0, told: list[float] | None = None) -> TwoTower:
    pictures = seeded(lambda: ImageTower(inputs=6, width=16, embedding=16, depth=1, heads=2, grid=2), 0)
    words = seeded(lambda: TextTower(TOLD, width=16, embedding=16, depth=1, heads=2), 1)
    return fit_towers(
        stem, pictures, words, windows=coded(SEEN * 8), scenes=coded(SEEN * 4, whole=True, seed=1), names=SEEN,
        plan=Plan(steps=steps, batch=32, scenes=16, rate=1e-2, dense=dense), seed=0, colours=False,
        told=lambda step, loss: None if told is None else told.append(loss),
    )  # fmt: skip


def test_towers_learn_names_of_pictures_and_of_cells(stem: Encoder) -> None:
    losses: list[float] = []
    towers = fit(stem, steps=60, told=losses)
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    test = coded(SEEN, seed=5)
    dense, classes = towers.see(test.cells), zero_shot_classifier(towers, SEEN)
    whole = torch.nn.functional.normalize(dense.whole, dim=-1)
    assert classify(whole, classes).tolist() == list(range(8))
    first = torch.nn.functional.normalize(dense.patches[:, 0], dim=-1)
    assert classify(first, classes).tolist() == list(range(8))  # cells speak the language of texts
    assert 1.0 < towers.scale <= 100.0
    assert not any(weight.requires_grad for weight in towers.parameters())


def test_the_same_seed_gives_the_same_towers(stem: Encoder) -> None:
    assert fit(stem, steps=3).fingerprint == fit(stem, steps=3).fingerprint
    assert fit(stem, steps=3).fingerprint != fit(stem, steps=3, dense=0.0).fingerprint


def test_inputs_are_standardised() -> None:
    tower = ImageTower(inputs=2, width=8, heads=2, depth=1, grid=2)
    cells = torch.tensor([[[1.0, 10.0], [3.0, 10.0]]])
    tower.standardise(cells)
    assert tower.shift.tolist() == [2.0, 10.0]
    assert tower.scale.tolist() == pytest.approx([2**0.5, 1e-3])  # what never changes is not blown up without end


def test_texts_that_say_the_same_are_right_alike() -> None:
    pictures, scale = torch.eye(3), torch.tensor(10.0)
    texts = pictures.clone()
    texts[1] = texts[0]  # the same sentence twice, and two pictures of it
    fought = contrast_loss(pictures, texts, torch.tensor([0, 1, 2]), scale)
    shared = contrast_loss(texts, texts, torch.tensor([0, 0, 1]), scale)
    assert shared.item() == pytest.approx(2 / 3 * np.log(2), abs=1e-3)  # the best there is: both halves of the target
    assert shared < fought


def test_a_caption_is_about_the_thing_of_the_window_or_about_two_neighbours() -> None:
    shown = View(EMPTY, ("red cube", "orange ball"), np.zeros((2, 4)), 1)
    rng = np.random.default_rng(0)
    said = [caption(shown, rng) for _ in range(200)]
    assert {meaning for meaning, _ in said} == {"orange ball", "a red cube left of an orange ball"}
    related = [text for meaning, text in said if meaning != "orange ball"]
    assert set(related) == {"a red cube left of an orange ball"}
    assert 20 < len(related) < 60  # a fifth
    assert all("an orange ball" in text or text == "orange ball" for _, text in said)


def test_a_caption_of_a_scene_lists_its_things() -> None:
    meaning, text = caption(View(EMPTY, ("red cube",), np.zeros((1, 4)), -1), np.random.default_rng(0))
    assert (meaning, text) == ("a red cube", "a picture of a red cube")


def test_a_thing_is_sometimes_named_without_a_sentence() -> None:
    rng = np.random.default_rng(0)
    said = [sentence("orange can", rng) for _ in range(100)]
    assert 10 < said.count("orange can") < 30
    assert len(set(said)) == 6


def test_views_are_read_once_and_none_is_refused(stem: Encoder) -> None:
    shown = View(np.zeros((32, 32, 3), np.uint8), (), np.zeros((0, 4)), -1)
    views = read_views(stem, iter([shown, shown]), colours=True)
    assert (views.cells.rows.shape, views.cells.rows.dtype, views.cells.grid) == ((2, 4, 124), torch.float16, (2, 2))
    with pytest.raises(DataError, match="views must be at least one, got none"):
        read_views(stem, iter([]), colours=True)


@pytest.mark.fault(43)
def test_a_loss_that_is_not_finite_stops_the_fitting(stem: Encoder) -> None:
    windows = coded(SEEN)
    windows.cells.rows[0, 0, 0] = float("nan")
    pictures = ImageTower(inputs=6, width=8, embedding=8, depth=1, heads=2, grid=2)
    with pytest.raises(NumericsError, match="the loss of the towers is nan at step 0"):
        fit_towers(
            stem, pictures, TextTower(TOLD, width=8, embedding=8, depth=1, heads=2), windows=windows, scenes=windows,
            names=SEEN, plan=Plan(steps=1), seed=0, colours=False,
        )  # fmt: skip
