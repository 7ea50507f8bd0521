"""What a frozen language model is shown, and what it learns to say of it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.checkpoint import hash_tensors
from worldrl.encoders.frozen import Encoder, seeded
from worldrl.encoders.vit import DinoV2
from worldrl.errors import ConfigError, DataError
from worldrl.language.bridges import Shown, SoftPrefix, Standardised
from worldrl.language.causal_lm import WordLM
from worldrl.language.ep_alm import InsertedTokens, tokens_of_layers
from worldrl.language.limber import LinearPrefix, by_columns, halved, painted
from worldrl.language.lm_fit import fit_language_model
from worldrl.language.telling import IGNORED, Told, answers, fit_bridge, spell, tell, tell_loss

WORDS = ["?", "a", "ball", "blue", "colour", "cube", "of", "picture", "red", "what"]


def spoken(limit: int = 40) -> WordLM:
    return seeded(lambda: WordLM(WORDS, width=16, depth=3, heads=2, limit=limit), 0).freeze()


def patches(count: int = 2, p: int = 4, d: int = 6) -> Tensor:
    return torch.randn(count, p, d, generator=torch.Generator().manual_seed(0))


def test_only_a_weight_and_a_bias_of_the_linear_prefix_have_gradients() -> None:
    model, bridge = spoken(), LinearPrefix(patches(), width=16)
    before = hash_tensors(model.state_dict())
    pieces, labels = spell(model, [Told(0, "", "a red cube"), Told(1, "", "a ball")])
    tell_loss(model, bridge(patches()), pieces, labels).backward()
    assert {name for name, weight in bridge.named_parameters() if weight.grad is not None} == {"map.weight", "map.bias"}
    assert all(weight.grad is None for weight in model.parameters())
    assert hash_tensors(model.state_dict()) == before


def test_every_patch_becomes_a_vector_before_the_text() -> None:
    bridge = LinearPrefix(patches(), width=16).eval()
    shown = bridge(patches())
    assert shown.prefix.shape == (2, 4, 16) and bridge.length == 4 and not shown.inserts


def test_one_vector_a_picture_is_no_prefix_of_patches() -> None:
    with pytest.raises(ConfigError, match="at least 2 a picture"):
        LinearPrefix(torch.zeros(3, 1, 6), width=16)


def test_labels_are_the_answer_and_one_end_alone() -> None:
    model = spoken()
    pieces, labels = spell(model, [Told(0, "a picture of", "a cube"), Told(0, "", "ball")])
    assert pieces.tolist() == [[0, 2, 8, 7, 2, 6], [0, 3, 0, 0, 0, 0]]
    assert labels.tolist() == [[IGNORED] * 3 + [2, 6, 0], [3, 0] + [IGNORED] * 4]


def test_prefix_prompt_and_what_comes_after_the_end_do_not_count_in_the_loss() -> None:
    """Worked out by hand: a model that guesses all 11 pieces alike loses log 11 on each of the labels."""

    class Even(WordLM):
        def forward(self, vectors: Tensor, *, inserts: object = None) -> Tensor:
            logits = torch.zeros(*vectors.shape[:2], 11)
            logits[:, :4] = torch.nan  # what is guessed within the prefix of five, but for its last
            return logits

    model = seeded(lambda: Even(WORDS, width=16, depth=1, heads=2), 0)
    pieces, labels = spell(model, [Told(0, "what colour ?", "red"), Told(0, "", "a red ball")])
    loss = tell_loss(model, Shown(torch.zeros(2, 5, 16)), pieces, labels)
    assert loss.item() == pytest.approx(np.log(11), abs=1e-5)


def test_patches_are_averaged_two_by_two() -> None:
    grid = torch.arange(8.0).reshape(1, 8, 1)  # rows 0 1 2 3 and 4 5 6 7
    assert halved(grid, (2, 4)).flatten().tolist() == [2.5, 4.5]
    with pytest.raises(ConfigError, match="even"):
        halved(grid, (1, 8))


def test_patches_come_column_by_column() -> None:
    grid = torch.arange(6.0).reshape(1, 6, 1)  # rows 0 1 2 and 3 4 5
    assert by_columns(grid, (2, 3)).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_painted_cells_hold_the_share_of_each_class() -> None:
    labels = torch.tensor([[[0, 1], [1, 2]]])
    assert painted(labels, (1, 1), 2).tolist() == [[[0.5, 0.25]]]
    assert painted(labels, (2, 2), 2)[0].tolist() == [[0, 0], [1, 0], [1, 0], [0, 1]]


def test_standardised_features_have_no_mean_and_one_deviation_and_nothing_to_train() -> None:
    example = 5.0 + 3.0 * torch.randn(50, 4, 2, generator=torch.Generator().manual_seed(1))
    module = Standardised(example)
    rows = module(example).flatten(0, 1)
    torch.testing.assert_close(rows.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.std(dim=0), torch.ones(2))
    assert not list(module.parameters())


def test_inserted_tokens_stand_in_successive_layers_through_one_map() -> None:
    example = patches(5, 3, 6)
    bridge = seeded(lambda: InsertedTokens(example, width=16, depth=3), 0)
    shown = bridge(example)
    assert shown.prefix.shape == (5, 2, 16) and sorted(shown.inserts) == [1, 2]
    assert all(insert.shape == (5, 1, 16) for insert in shown.inserts.values())
    torch.testing.assert_close(shown.prefix[0, 1], shown.prefix[1, 1])  # the soft token sees nothing
    assert sum(weight.numel() for weight in bridge.parameters()) == 6 * 16 + 16 + 16


def test_gradients_reach_the_shared_map_from_every_layer() -> None:
    model, example = spoken(), patches(4, 3, 6)
    bridge = seeded(lambda: InsertedTokens(example, width=16, depth=3), 0)
    pieces, labels = spell(model, [Told(0, "", "a red cube")] * 4)
    features = example.clone().requires_grad_()
    tell_loss(model, bridge(features), pieces, labels).backward()
    assert features.grad is not None
    assert (features.grad.abs().sum(dim=(0, 2)) > 0).all()


def test_more_class_tokens_than_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"l in \[1, 2\]"):
        InsertedTokens(torch.zeros(2, 3, 6), width=16, depth=2)


def test_tokens_of_layers_are_what_the_encoder_says_at_each_layer() -> None:
    backbone = seeded(DinoV2, 0)
    frames = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3), dtype=np.uint8)
    encoder = Encoder(backbone, name="dinov2_vits14", layer=3)
    cls, mean = tokens_of_layers(encoder, frames, [1, 3])
    features = encoder(frames)
    torch.testing.assert_close(cls[:, 1], features.cls)
    torch.testing.assert_close(mean[:, 1], features.patches.mean(dim=1))
    assert cls.shape == mean.shape == (2, 2, 384) and not torch.allclose(cls[:, 0], cls[:, 1])
    with pytest.raises(ConfigError, match="rise within"):
        tokens_of_layers(encoder, frames, [3, 1])


def test_a_bridge_learns_to_let_the_model_tell_one_batch() -> None:
    model = seeded(lambda: WordLM(WORDS, width=16, depth=3, heads=2, limit=40), 0)
    text = [
        [f"a {name}", f"a picture of a {name}", f"what colour ? {name.split()[0]}"]
        for name in ("red cube", "blue ball", "red ball", "blue cube")
    ]
    fit_language_model(model, text, steps=120, batch_size=8, lr=1e-2)
    before, example = hash_tensors(model.state_dict()), patches(2, 3, 6)
    told = [Told(0, "", "a picture of a red cube"), Told(1, "", "a picture of a blue ball")]
    told += [Told(0, "what colour ?", "red"), Told(1, "what colour ?", "blue")]
    bridge = seeded(lambda: LinearPrefix(example, width=16), 0)
    lines: list[float] = []
    after = fit_bridge(
        bridge, model, example, told, steps=120, batch_size=8, lr=0.05, progress=lambda _, loss: lines.append(loss)
    )
    assert after < 0.5 * lines[0]
    red, blue = tell(bridge, model, example, longest=6)
    assert red.startswith("a picture of a red") and blue.startswith("a picture of a blue")
    assert answers(bridge, model, example, told[2:]) == ["red", "blue"]
    assert hash_tensors(model.state_dict()) == before


def test_a_blind_bridge_says_the_same_of_every_picture() -> None:
    bridge = seeded(lambda: SoftPrefix(width=16, length=2), 0)
    assert len(set(tell(bridge, spoken(), patches(3), longest=5))) == 1


def test_an_answer_does_not_depend_on_the_other_questions_of_its_batch() -> None:
    model, bridge = spoken(), seeded(lambda: LinearPrefix(patches(), width=16), 0).eval()
    asked = [Told(0, "what colour ?", ""), Told(1, "what", ""), Told(1, "a picture of a red ball ?", "")]
    assert answers(bridge, model, patches(), asked) == [answers(bridge, model, patches(), [one])[0] for one in asked]


def test_training_leaves_the_global_generator_alone_and_follows_from_its_seed() -> None:
    told, state = [Told(0, "", "a red cube"), Told(1, "", "a ball")], torch.random.get_rng_state()
    weights = []
    for _ in range(2):
        bridge = seeded(lambda: LinearPrefix(patches(), width=16), 0)
        fit_bridge(bridge, spoken(), patches(), told, steps=2, batch_size=2, seed=5)
        weights.append(hash_tensors(bridge.state_dict()))
    assert weights[0] == weights[1]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_picture_and_a_text_that_are_too_long_together_are_refused() -> None:
    bridge = SoftPrefix(width=16, length=4)
    with pytest.raises(DataError, match="at most 20 pieces"):
        tell(bridge, spoken(limit=20), patches(), longest=20)


@pytest.mark.parametrize("changed", [{"told": []}, {"steps": 0}])
def test_nothing_to_say_is_refused(changed: dict[str, object]) -> None:
    given = {"told": [Told(0, "", "a ball")], "steps": 1, **changed}
    with pytest.raises(ConfigError, match="at least 1"):
        fit_bridge(SoftPrefix(width=16), spoken(), patches(), **given)  # type: ignore[arg-type]
