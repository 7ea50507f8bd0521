"""Tokens beside those of two frozen towers: what they are, where they stand, and what learns."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.checkpoint import hash_tensors
from worldrl.encoders.frozen import Encoder, load_encoder, seeded
from worldrl.errors import ConfigError, DataError, NumericsError
from worldrl.language.image_tower import ImageTower
from worldrl.language.inserted import InsertedTowers, Seen, shapes_of
from worldrl.language.mmrl import Mmrl, Shapes
from worldrl.language.mmrl_fit import MmrlNamer, Untouched
from worldrl.language.mmrl_pp import MmrlPlusPlus
from worldrl.language.naming import Named
from worldrl.language.shot_plan import ShotPlan, fit_to_shots, rate_of
from worldrl.language.text_tower import TextTower
from worldrl.language.two_tower import Cells, TwoTower

NAMES = ("red cube", "blue ball", "green mug")
CLIP = Shapes(pictures=768, words=512, embedding=512, layers=7, space=512, tokens=5)


@pytest.fixture(scope="module")
def towers() -> TwoTower:
    """Untrained towers of four blocks each, narrower for texts than for pictures."""
    stem = load_encoder("efficientnet_lite0", random_init=True)
    assert isinstance(stem, Encoder)
    pictures = seeded(lambda: ImageTower(inputs=3, width=16, embedding=8, depth=4, heads=2, grid=2), 0)
    words = seeded(lambda: TextTower(width=12, embedding=8, depth=4, heads=2, limit=16), 1)
    return TwoTower(stem, pictures, words, colours=False, scale=10.0)


def tokens_for(towers: TwoTower, kind: str = "mmrl", **options: float) -> Mmrl | MmrlPlusPlus:
    shapes = shapes_of(towers, layers=2, tokens=3)
    if kind == "mmrl":
        return seeded(lambda: Mmrl(shapes), 2)
    project = towers.pictures.project.weight
    return seeded(lambda: MmrlPlusPlus(shapes, project=project, rank=2, project_rank=2, **options), 2)


def pictures(each: int = 4) -> Named:
    """Pictures of three classes that differ in one number of their cells each."""
    names = tuple(name for name in NAMES for _ in range(each))
    rows = torch.randn(len(names), 4, 3, generator=torch.Generator().manual_seed(3)) * 0.3
    for row, name in enumerate(names):
        rows[row, :, NAMES.index(name)] += 2.0
    return Named(Cells(rows, (2, 2)), names)


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_mmrl_has_as_many_numbers_as_the_papers_at_the_sizes_of_clip() -> None:
    assert count(Mmrl(CLIP)) == 4_992_256
    # 5 x 512 space tokens; seven maps with biases to each tower; one projection without
    assert 5 * 512 + 7 * (512 * 768 + 768 + 512 * 512 + 512) + 768 * 512 == 4_992_256


def test_mmrl_plus_plus_has_as_many_numbers_as_the_papers_at_the_sizes_of_clip() -> None:
    assert count(MmrlPlusPlus(CLIP, project=torch.zeros(512, 768))) == 813_312
    shared, own, biases, projection = 512 * 768 + 512 * 512, 7 * 4 * (512 + 768 + 512 + 512), 7 * (768 + 512), 64 * 1280
    assert 5 * 512 + shared + own + biases + projection == 813_312


def test_towers_without_tokens_say_what_they_said(towers: TwoTower) -> None:
    plain = InsertedTowers(towers, None)
    cells = pictures().cells
    seen, whole = plain.see_all(cells), towers.see(cells)
    assert torch.allclose(seen.classes, F.normalize(whole.whole, dim=-1), atol=1e-6)
    assert torch.allclose(seen.cells, whole.patches, atol=1e-6)
    texts = ["a photo of a red cube", "a blue ball"]
    assert torch.allclose(plain.read(plain.enter_texts(texts)), towers.texts(texts), atol=1e-6)


def test_the_later_half_of_the_blocks_sees_tokens_by_default(towers: TwoTower) -> None:
    assert shapes_of(towers) == Shapes(pictures=16, words=12, embedding=8, layers=2, space=8, tokens=5)


def test_a_text_with_tokens_is_read_off_where_its_end_has_moved_to(towers: TwoTower) -> None:
    tokens = tokens_for(towers)
    inserted = InsertedTowers(towers, tokens)
    spoken = inserted.enter_texts(["a red cube", "a photo of a red cube"])
    with torch.no_grad():
        rows = spoken.tokens
        for block, fresh in zip(towers.words.blocks[2:], tokens.for_words(), strict=True):
            slots = fresh.expand(2, -1, -1)
            rest = rows[:, 1:] if rows.shape[1] == spoken.tokens.shape[1] else rows[:, 4:]
            rows = block(torch.cat([rows[:, :1], slots, rest], dim=1))
        ends = torch.stack([rows[0, 4 + 3], rows[1, 7 + 3]])  # start, words, end: 4 and 7 places on, and three slots
        expected = F.normalize(towers.words.project(towers.words.norm(ends)), dim=-1)
        assert torch.allclose(inserted.read(spoken), expected, atol=1e-6)


def test_what_stands_behind_the_end_of_a_text_changes_nothing(towers: TwoTower) -> None:
    inserted = InsertedTowers(towers, tokens_for(towers))
    alone = inserted.read(inserted.enter_texts(["a red cube"]))
    beside = inserted.read(inserted.enter_texts(["a red cube", "a photo of a red cube"]))
    assert torch.allclose(alone[0], beside[0], atol=1e-6)


def test_the_start_of_a_text_does_not_see_the_slots_behind_it(towers: TwoTower) -> None:
    tokens = tokens_for(towers)
    inserted = InsertedTowers(towers, tokens)
    spoken = inserted.enter_texts(["a red cube"])
    out = inserted._pass(spoken.tokens, towers.words.blocks[2:], tokens.for_words())
    plain = spoken.tokens
    for block in towers.words.blocks[2:]:
        plain = block(plain)
    assert torch.allclose(out[:, 0], plain[:, 0], atol=1e-6)
    assert not torch.allclose(out[:, 4:], plain[:, 1:], atol=1e-4)


def slots_before(towers: TwoTower, tokens: Mmrl | MmrlPlusPlus) -> tuple[list[Tensor], list[Tensor]]:
    """Return the slots that each of the two last blocks of the image tower reads, and those that it leaves."""
    read, left = list[Tensor](), list[Tensor]()
    hooks = [
        block.register_forward_hook(
            lambda _, given, out: (read.append(given[0][:, 1:4].detach()), left.append(out[:, 1:4].detach()))[0]
        )
        for block in towers.pictures.blocks[2:]
    ]
    inserted = InsertedTowers(towers, tokens)
    inserted.see(inserted.enter(pictures(each=1).cells))
    for hook in hooks:
        hook.remove()
    return read, left


def test_mmrl_overwrites_slots_before_every_block(towers: TwoTower) -> None:
    tokens = tokens_for(towers)
    read, _ = slots_before(towers, tokens)
    for slots, fresh in zip(read, tokens.for_pictures(), strict=True):
        assert torch.allclose(slots, fresh.expand(3, -1, -1))


def test_mmrl_plus_plus_leaves_a_part_of_what_the_block_before_put_there(towers: TwoTower) -> None:
    tokens = tokens_for(towers, "mmrl_pp", blend=0.25)
    read, left = slots_before(towers, tokens)
    fresh = tokens.for_pictures()
    assert torch.allclose(read[0], fresh[0].expand(3, -1, -1))
    assert torch.allclose(read[1], 0.25 * fresh[1] + 0.75 * left[0], atol=1e-6)


def test_mmrl_plus_plus_starts_at_one_map_for_all_blocks_and_the_frozen_projection(towers: TwoTower) -> None:
    tokens = tokens_for(towers, "mmrl_pp")
    assert isinstance(tokens, MmrlPlusPlus)
    assert torch.equal(tokens.for_pictures()[0], tokens.for_pictures()[1])
    rows = torch.randn(2, 3, 16)
    assert torch.allclose(tokens.represent(rows), towers.pictures.project(rows.mean(dim=1)), atol=1e-6)


def test_mmrl_projects_at_random_unless_it_is_given_a_projection(towers: TwoTower) -> None:
    shapes, project = shapes_of(towers), towers.pictures.project.weight
    assert not torch.equal(Mmrl(shapes).project.weight, project)
    assert torch.equal(Mmrl(shapes, project=project).project.weight, project)


@pytest.mark.parametrize("kind", ["mmrl", "mmrl_pp"])
def test_a_gradient_reaches_all_that_learns_and_nothing_else(towers: TwoTower, kind: str) -> None:
    tokens = tokens_for(towers, kind)
    if isinstance(tokens, MmrlPlusPlus):  # products start at zero, which hides their other halves
        for thin in (tokens.up, tokens.to_pictures.up, tokens.to_words.up):
            torch.nn.init.normal_(thin)
    inserted = InsertedTowers(towers, tokens)
    assert {name.partition(".")[0] for name, _ in inserted.named_parameters()} == {"tokens"}
    seen = inserted.see(inserted.enter(pictures().cells))
    texts = inserted.read(inserted.enter_texts(["a red cube"]))
    (seen.classes @ texts.T + seen.represented @ texts.T).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in inserted.parameters())
    assert all(weight.grad is None for weight in towers.parameters())


@pytest.mark.parametrize("kind", ["mmrl", "mmrl_pp"])
def test_examples_are_learned_and_the_towers_stay_as_they_are(towers: TwoTower, kind: str) -> None:
    before = hash_tensors(towers.state_dict())
    namer = MmrlNamer(InsertedTowers(towers, tokens_for(towers, kind)))
    shots = pictures(each=8)
    plan = ShotPlan(rate=5e-2, epochs=20, batch=8)
    losses = namer.fit(shots, NAMES, pull=0.1, plan=plan, seed=0)
    assert len(losses) == 20 * 3
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])
    found = namer(shots.cells, NAMES, learned=True).argmax(dim=1)
    assert (found == shots.labels(NAMES)).float().mean() > 0.9
    assert hash_tensors(towers.state_dict()) == before


def test_a_fit_repeats_under_its_seed(towers: TwoTower) -> None:
    def fitted() -> list[float]:
        namer = MmrlNamer(InsertedTowers(towers, tokens_for(towers)))
        return namer.fit(pictures(), NAMES, pull=1.0, plan=ShotPlan(epochs=2, batch=4), seed=5)

    assert fitted() == fitted()


def test_the_loss_is_that_of_the_paper(towers: TwoTower) -> None:
    namer = MmrlNamer(InsertedTowers(towers, None), alpha=0.7)
    axes = torch.eye(8)
    seen = Seen(axes[:1], axes[1:2], torch.zeros(1, 1, 8))
    texts = axes[:2]
    # class feature: logits (10, 0); representation feature: logits (0, 10); both of class 0
    named = 0.7 * torch.log(1 + torch.tensor(-10.0).exp()) + 0.3 * torch.log(1 + torch.tensor(10.0).exp())
    # the class feature stands at right angles to what it was, the texts as they were: 1 and 0
    loss = namer.loss(seen, texts, torch.tensor([0]), Untouched(axes[2:3], texts), pull=2.0)
    assert torch.isclose(loss, named + 2.0)


def test_names_that_were_not_learned_are_told_by_the_class_feature_alone(towers: TwoTower) -> None:
    inserted = InsertedTowers(towers, tokens_for(towers))
    namer, cells = MmrlNamer(inserted, alpha=0.6), pictures().cells
    seen, texts = inserted.see_all(cells), namer.texts(NAMES)
    classes, represented = (10.0 * vectors @ texts.T for vectors in (seen.classes, seen.represented))
    assert torch.allclose(namer(cells, NAMES, learned=False), classes)
    assert torch.allclose(namer(cells, NAMES, learned=True), 0.6 * classes + 0.4 * represented, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda _: Shapes(pictures=8, words=8, embedding=8, layers=0, space=8), "sizes .* must be at least 1"),
        (lambda towers: shapes_of(towers, layers=5), r"layers must be in \[1, 4\]"),
        (lambda towers: InsertedTowers(towers, Mmrl(CLIP)), r"layers must be in \[1, 4\]"),
        (
            lambda towers: InsertedTowers(towers, Mmrl(Shapes(pictures=8, words=8, embedding=8, layers=1, space=8))),
            r"widths \(16, 12, 8\), got \(8, 8, 8\)",
        ),
        (lambda towers: tokens_for(towers, "mmrl_pp", blend=0.0), r"blend must be in \(0, 1\]"),
        (lambda towers: MmrlNamer(InsertedTowers(towers, None), alpha=1.5), r"alpha must be in \[0, 1\]"),
        (
            lambda towers: MmrlNamer(InsertedTowers(towers, None)).fit(
                pictures(), NAMES, pull=1.0, plan=ShotPlan(), seed=0
            ),
            "fitting needs tokens",
        ),
        (lambda _: ShotPlan(rate=0.0), "rate, epochs and batch must be positive"),
    ],
)
def test_what_cannot_be_is_refused(towers: TwoTower, build: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build(towers)  # type: ignore[operator]


def test_a_projection_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"project must be \(512, 768\), got \(3, 3\)"):
        MmrlPlusPlus(CLIP, project=torch.zeros(3, 3))


def test_an_example_of_a_class_that_is_not_told_apart_is_refused(towers: TwoTower) -> None:
    namer = MmrlNamer(InsertedTowers(towers, tokens_for(towers)))
    names: Sequence[str] = NAMES[:2]
    with pytest.raises(DataError, match="got 'green mug'"):
        namer.fit(pictures(), names, pull=1.0, plan=ShotPlan(), seed=0)


def test_the_step_is_small_in_the_first_epoch_then_falls_from_the_highest() -> None:
    plan = ShotPlan(rate=1e-2, epochs=4)
    rates = [rate_of(epoch, plan) for epoch in range(4)]
    assert rates[:2] == [1e-5, 1e-2]
    assert rates[1] > rates[2] > rates[3] > 0


def test_a_loss_that_is_not_finite_ends_the_fit() -> None:
    module = torch.nn.Linear(1, 1)
    with pytest.raises(NumericsError, match="the loss is nan in epoch 0"):
        fit_to_shots(module, lambda rows: module.weight.sum() * float("nan"), count=2, plan=ShotPlan(), seed=0)
