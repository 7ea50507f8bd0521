"""Naming is measured as the papers do; probes and prompts are learned on frozen towers."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from worldrl.checkpoint import hash_tensors
from worldrl.encoders.frozen import Encoder, load_encoder, seeded
from worldrl.errors import ConfigError, DataError
from worldrl.language.coop import Coop
from worldrl.language.image_tower import ImageTower
from worldrl.language.linear_probe import LinearProbe
from worldrl.language.naming import (
    Named,
    accuracy,
    base_to_novel,
    cross_domain,
    draw,
    few_shot,
    harmonic_mean,
    told,
)
from worldrl.language.shot_plan import ShotPlan
from worldrl.language.text_tower import TextTower
from worldrl.language.two_tower import Cells, TwoTower

BASE, NOVEL = ("red cube", "blue ball"), ("green mug", "white can")
NAMES = (*BASE, *NOVEL)


class Reader:
    """Reads scores off the cells: one number for each of the four names; always right, or of some names' favour."""

    def __init__(self, *, favour: str = "", bold: float = 0.0, opened: bool = True) -> None:
        self.favour, self.bold, self.open = favour, bold, opened

    def __call__(self, cells: Cells, names: Sequence[str], *, learned: bool) -> Tensor:
        scores = cells.rows[:, 0, [NAMES.index(name) for name in names]].clone()
        if self.favour in names:
            scores[:, list(names).index(self.favour)] += 2.0 if self.bold and learned else 0.5
        return scores


def shown(each: int = 4) -> Named:
    """Pictures of four names whose cells are one-hot."""
    names = tuple(name for name in NAMES for _ in range(each))
    return Named(Cells(torch.eye(4)[[NAMES.index(name) for name in names]][:, None], (1, 1)), names)


@pytest.fixture(scope="module")
def towers() -> TwoTower:
    """Untrained small towers."""
    stem = load_encoder("efficientnet_lite0", random_init=True)
    assert isinstance(stem, Encoder)
    pictures = seeded(lambda: ImageTower(inputs=4, width=16, embedding=8, depth=1, heads=2, grid=2), 0)
    words = seeded(lambda: TextTower(width=12, embedding=8, depth=1, heads=2, limit=16), 1)
    return TwoTower(stem, pictures, words, colours=False, scale=10.0)


def test_a_class_is_asked_for_with_its_article() -> None:
    assert told("orange mug") == "a photo of an orange mug"


def test_the_harmonic_mean_of_a_half_and_one_is_two_thirds() -> None:
    assert harmonic_mean(0.5, 1.0) == pytest.approx(2 / 3)
    assert harmonic_mean(0.0, 0.0) == 0.0


def test_base_pictures_are_named_among_base_names_and_novel_ones_among_novel() -> None:
    # whoever always says 'red cube' is right for half of the base pictures, and cannot say it to novel ones
    found = base_to_novel(Reader(favour="red cube", bold=1.0), shown(), base=BASE, novel=NOVEL)
    assert found == {"base": 0.5, "novel": 1.0, "hm": pytest.approx(2 / 3)}


def test_what_was_learned_is_used_for_base_names_alone() -> None:
    found = base_to_novel(Reader(favour="white can", bold=1.0), shown(), base=BASE, novel=NOVEL)
    assert found["novel"] == 1.0  # 'learned' would have called all of them white cans
    assert accuracy(Reader(favour="white can", bold=1.0), shown(), NAMES, learned=True) == 0.25


def test_who_cannot_be_asked_for_novel_names_has_no_such_figure() -> None:
    closed = Reader(opened=False)
    assert base_to_novel(closed, shown(), base=BASE, novel=NOVEL) == {"base": 1.0, "novel": None, "hm": None}
    assert cross_domain(closed, shown(), names=NAMES) is None


def test_another_domain_is_named_without_what_was_learned() -> None:
    assert cross_domain(Reader(favour="white can", bold=1.0), shown(), names=NAMES) == 1.0


def test_examples_are_drawn_for_every_name_and_fewer_are_some_of_more() -> None:
    pool = shown(each=6)
    pool = Named(Cells(pool.cells.rows + torch.arange(24.0)[:, None, None], (1, 1)), pool.names)
    few, many = (draw(pool, BASE, count, seed=3) for count in (1, 4))
    assert sorted(many.names) == ["blue ball"] * 4 + ["red cube"] * 4
    assert all(any(torch.equal(row, other) for other in many.cells.rows) for row in few.cells.rows)
    assert not torch.equal(draw(pool, BASE, 1, seed=3).cells.rows, draw(pool, BASE, 1, seed=4).cells.rows)


def test_few_shot_fits_anew_to_each_number_of_examples() -> None:
    seen = []

    def fit(shots: Named) -> Reader:
        seen.append(len(shots))
        return Reader()

    assert few_shot(fit, shown(), shown(), names=NAMES, shots=(1, 2), seed=0) == {"shots_1": 1.0, "shots_2": 1.0}
    assert seen == [4, 8]


def test_too_few_pictures_of_a_name_are_refused() -> None:
    with pytest.raises(DataError, match="'red cube' must have 5 pictures, got 4"):
        draw(shown(), BASE, 5, seed=0)
    with pytest.raises(DataError, match="pictures must show one of 1 names, got none"):
        shown().among(["black arch"])
    with pytest.raises(DataError, match="got 'green mug'"):
        shown().labels(BASE)
    with pytest.raises(ValueError, match="names must be 2, one for each picture, got 1"):
        Named(Cells(torch.zeros(2, 1, 4), (1, 1)), ("red cube",))


def test_a_linear_probe_learns_base_classes_and_names_no_others(towers: TwoTower) -> None:
    before = hash_tensors(towers.state_dict())
    probe = LinearProbe(towers, BASE).fit(shown().among(BASE), decay=1e-4)
    assert base_to_novel(probe, shown(), base=BASE, novel=NOVEL) == {"base": 1.0, "novel": None, "hm": None}
    with pytest.raises(ConfigError, match="names only what it was fitted to, got 'green mug'"):
        probe(shown().cells, NAMES, learned=True)
    assert hash_tensors(towers.state_dict()) == before


def test_a_probe_decays_to_nothing_where_it_must(towers: TwoTower) -> None:
    shots = shown().among(BASE)
    loose, tight = (LinearProbe(towers, BASE).fit(shots, decay=decay) for decay in (1e-3, 10.0))
    assert tight.linear.weight.norm() < 0.1 * loose.linear.weight.norm()
    with pytest.raises(ConfigError, match="decay must be at least 0"):
        tight.fit(shots, decay=-1.0)


def test_coop_learns_its_context_and_leaves_the_towers(towers: TwoTower) -> None:
    before = hash_tensors(towers.state_dict())
    coop = seeded(lambda: Coop(towers, tokens=2), 0)
    assert sum(weight.numel() for weight in coop.parameters()) == 2 * 12
    losses = coop.fit(shown().among(BASE), BASE, plan=ShotPlan(rate=0.3, epochs=15, batch=8), seed=0)
    assert losses[-1] < losses[0]
    assert coop(shown().cells, NOVEL, learned=False).shape == (16, 2)
    assert hash_tensors(towers.state_dict()) == before
    with pytest.raises(ConfigError, match="tokens must be at least 1"):
        Coop(towers, tokens=0)
