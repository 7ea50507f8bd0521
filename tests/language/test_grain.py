"""Regions are paired with things by their boxes and pulled to what the things look like; all of it can be learnt."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from worldrl.errors import ConfigError, DataError
from worldrl.language.grain import Grain, Grounded, middles_of
from worldrl.language.grain_boxes import box_costs, match, overlaps, to_corners, to_middles
from worldrl.language.grain_descriptions import PARTS, describe, describe_all
from worldrl.language.grain_fit import Lesson, Weights, fit_grain
from worldrl.language.grain_losses import box_loss, contrast, pair, same_text
from worldrl.scene import BASE, NAMES, NOVEL, SHAPES


def lesson(count: int = 12) -> Lesson:
    """Return pictures of 4 x 4 cells in which two things of one cell each light a channel of their own."""
    rng = torch.Generator().manual_seed(0)
    patches, boxes, captions, descriptions = torch.zeros(count, 16, 8), [], [], []
    for i in range(count):
        cells, kinds = torch.randperm(16, generator=rng)[:2], torch.randperm(8, generator=rng)[:2].tolist()
        patches[i, cells, kinds] = 3.0
        corner = torch.stack([cells % 4, cells // 4], dim=1) / 4
        boxes.append(torch.cat([corner, corner + 0.25], dim=1))
        captions.append([f"a {SHAPES[kinds[0]]} and a {SHAPES[kinds[1]]}"])
        descriptions.append([[f"a {SHAPES[kind]}"] for kind in kinds])
    return Lesson(patches, (4, 4), captions, boxes, descriptions)


def toy(queries: int = 3) -> Grain:
    torch.manual_seed(0)
    return Grain(inputs=8, width=16, layers=1, heads=2, embedding=16, queries=queries)


def test_overlaps_are_those_worked_out_by_hand() -> None:
    one, other = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0], [4.0, 0.0, 6.0, 2.0]])
    iou, giou = overlaps(one, other)
    assert iou.tolist() == [[pytest.approx(2 / 6), 0.0]]
    assert giou.tolist() == [[pytest.approx(2 / 6), pytest.approx(-4 / 12)]]  # hull 12, union 8, nothing shared


def test_corners_and_middles_are_each_others_inverse() -> None:
    boxes = torch.tensor([[0.1, 0.2, 0.5, 0.8]])
    assert to_middles(boxes).flatten().tolist() == pytest.approx([0.3, 0.5, 0.4, 0.6])
    assert torch.allclose(to_corners(to_middles(boxes)), boxes)


def test_a_box_costs_nothing_where_it_should_be() -> None:
    boxes = torch.tensor([[0.1, 0.2, 0.5, 0.8], [0.5, 0.5, 0.7, 0.9]])
    assert box_costs(boxes, boxes).diagonal().tolist() == pytest.approx([0.0, 0.0], abs=1e-5)


def test_the_cheapest_pairing_is_found_though_the_cheapest_pair_is_not_in_it() -> None:
    rows, columns = match(torch.tensor([[1.0, 2.0], [2.0, 9.0], [9.0, 9.0]]))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_contrast_of_what_belongs_together_is_that_of_clip() -> None:
    vectors = torch.eye(2)
    loss = contrast(vectors, vectors, torch.eye(2).bool(), torch.tensor(1.0))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_texts_that_are_the_same_share_the_target() -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    same = same_text(["a cube", "a cube"], ["a cube", "a cube"])
    assert contrast(vectors, vectors, same, torch.tensor(5.0)).item() == pytest.approx(math.log(2))
    assert same.all() and not same_text(["a"], ["b"]).any()


def test_regions_are_paired_by_boxes_picture_by_picture() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]], [[0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.8, 0.8]]])
    true = [torch.tensor([[0.5, 0.5, 0.9, 0.9], [0.0, 0.0, 0.2, 0.2]]), torch.tensor([[0.6, 0.6, 0.8, 0.8]])]
    grounded = Grounded(torch.zeros(2, 4), torch.zeros(2, 2, 4), boxes)
    pairing = pair(grounded, true)
    assert pairing.pictures.tolist() == [0, 0, 1]
    assert pairing.queries.tolist() == [0, 1, 1]
    assert pairing.things.tolist() == [1, 0, 2]
    assert box_loss(grounded, true, pairing).item() == pytest.approx(0.0, abs=1e-5)


def test_without_boxes_regions_are_paired_by_what_they_say() -> None:
    grounded = Grounded(torch.zeros(1, 2), torch.eye(2).unsqueeze(0), torch.zeros(1, 2, 4))
    pairing = pair(grounded, [torch.zeros(2, 4)], torch.eye(2).flip(0))
    assert pairing.things.tolist() == [1, 0]


def test_a_picture_without_things_pairs_nothing() -> None:
    grounded = Grounded(torch.zeros(2, 4), torch.zeros(2, 2, 4), torch.rand(2, 2, 4))
    pairing = pair(grounded, [torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 1.0, 1.0]])])
    assert pairing.pictures.tolist() == [1] and pairing.things.tolist() == [0]


def test_vectors_are_of_unit_length_and_pictures_do_not_mix() -> None:
    grain, patches = toy().eval(), torch.randn(4, 16, 8)
    together, alone = grain(patches, (4, 4)), grain(patches[2:3], (4, 4))
    assert torch.allclose(together.whole.norm(dim=-1), torch.ones(4))
    assert torch.allclose(together.regions.norm(dim=-1), torch.ones(4, 3))
    assert torch.allclose(together.boxes[2:3], alone.boxes, atol=1e-5)
    assert torch.allclose(grain.whole(patches, (4, 4)), together.whole, atol=1e-5)
    assert (together.boxes[..., 2:] > together.boxes[..., :2]).all()


def test_the_middle_of_a_cell_is_counted_from_the_upper_left_corner() -> None:
    middles = middles_of((2, 4))
    assert middles[0].tolist() == [0.125, 0.25]
    assert middles[5].tolist() == [0.375, 0.75]


def test_a_crop_of_another_grid_has_a_vector_too() -> None:
    assert toy().eval().whole(torch.randn(2, 6, 8), (2, 3)).shape == (2, 16)


def test_a_class_is_the_mean_of_its_normalised_descriptions() -> None:
    grain = toy().eval()
    texts = ["a red mug", "a mug that is red"]
    mean = grain.embed(texts).mean(dim=0)
    assert torch.allclose(grain.classes([texts, ["a cube"]])[0], mean / mean.norm(), atol=1e-6)


def test_saved_towers_say_the_same(tmp_path: Path) -> None:
    grain, patches = toy().eval(), torch.randn(2, 16, 8)
    grain.save_pretrained(tmp_path / "towers")
    again = Grain.from_pretrained(tmp_path / "towers")
    assert torch.equal(again(patches, (4, 4)).boxes, grain(patches, (4, 4)).boxes)
    assert torch.equal(again.embed(["a cube"]), grain.embed(["a cube"]))


def test_novel_classes_are_described_in_words_of_base_classes() -> None:
    def words(names: Sequence[str]) -> set[str]:
        return {word for texts in describe_all(names).values() for text in texts for word in text.split()}

    assert words(NOVEL) <= words(BASE)
    assert set(PARTS) == set(SHAPES)
    assert len({describe(name) for name in NAMES}) == len(NAMES)
    assert "a red thing with a handle on a round body" in describe("red mug")
    with pytest.raises(ConfigError, match="got 'red table'"):
        describe("red table")


def test_a_batch_is_overfitted() -> None:
    grain, data = toy(), lesson()
    history = fit_grain(grain, data, steps=80, seed=0, weights=Weights(), batch=12, rate=1e-2)
    first, last = history[0], history[-1]
    assert last["captions"] < 0.3 * first["captions"]
    assert last["regions"] < 0.8 * first["regions"]
    assert last["boxes"] < 0.5 * first["boxes"]


def test_without_regions_and_boxes_only_whole_pictures_learn() -> None:
    grain, data = toy(), lesson()
    before = grain.regions.queries.detach().clone()
    history = fit_grain(grain, data, steps=3, seed=0, weights=Weights(regions=0.0, boxes=0.0), batch=6)
    assert set(history[0]) == {"captions"}
    assert all(weight.grad is None for weight in grain.regions.parameters())
    assert torch.equal(before, grain.regions.queries)


def test_a_seed_gives_the_same_towers() -> None:
    grains = [toy(), toy()]
    losses = [fit_grain(grain, lesson(), steps=3, seed=5, weights=Weights(), batch=4)[-1] for grain in grains]
    assert losses[0] == losses[1]


def test_lessons_that_do_not_fit_are_refused() -> None:
    data = lesson(2)
    with pytest.raises(DataError, match=r"equally many, at least 1, got \[2, 1, 2, 2\]"):
        Lesson(data.patches, data.grid, data.captions[:1], data.boxes, data.descriptions)
    with pytest.raises(DataError, match="those of 0 are not"):
        Lesson(data.patches, data.grid, data.captions, [data.boxes[0][:1], data.boxes[1]], data.descriptions)
    with pytest.raises(ConfigError, match="queries must be at least 1"):
        toy(queries=0)
