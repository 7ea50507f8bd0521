"""Two frozen towers: what they say of pictures and texts, what reaches the context, and what is refused."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from worldrl.checkpoint import hash_tensors
from worldrl.encoders.frozen import Encoder, load_encoder, seeded
from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.language.blocks import Block
from worldrl.language.image_tower import ImageTower
from worldrl.language.text_tower import TextTower
from worldrl.language.two_tower import TwoTower, read_cells


@cache
def stem() -> Encoder:
    encoder = load_encoder("efficientnet_lite0", layer=4, random_init=True)
    assert isinstance(encoder, Encoder)
    return encoder


def build(*, colours: bool = True, seed: int = 0, limit: int = 16) -> TwoTower:
    """Return untrained towers on a map with random weights."""
    inputs = 124 if colours else 112
    pictures = seeded(lambda: ImageTower(inputs=inputs, width=16, embedding=8, depth=2, heads=2, grid=3), seed)
    words = seeded(lambda: TextTower(width=12, embedding=8, depth=2, heads=2, limit=limit), seed)
    return TwoTower(stem(), pictures, words, colours=colours, scale=20.0)


@pytest.fixture(scope="module")
def towers() -> TwoTower:
    return build()


def frames(height: int = 32, width: int = 48, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_pictures_of_any_size_have_a_vector_and_one_for_each_cell(towers: TwoTower) -> None:
    for height, width in ((32, 48), (112, 112), (16, 16)):
        dense = towers.dense(frames(height, width))
        assert dense.grid == (height // 16, width // 16)
        assert dense.whole.shape == (2, 8)
        assert dense.patches.shape == (2, height * width // 256, 8)
        assert torch.allclose(towers.images(frames(height, width)), F.normalize(dense.whole, dim=-1))


def test_a_picture_does_not_see_the_rest_of_its_batch(towers: TwoTower) -> None:
    many = frames(count=3)
    assert torch.allclose(towers.images(many)[1], towers.images(many[1:2])[0], atol=1e-5)


def test_the_class_token_and_the_cells_go_through_one_projection(towers: TwoTower) -> None:
    cells = towers.cells(frames())
    tokens = towers.pictures.start(cells.rows, cells.grid)
    for block in towers.pictures.blocks:
        tokens = block(tokens)
    dense = towers.see(cells)
    expected = towers.pictures.norm(tokens) @ towers.pictures.project.weight.T
    assert torch.allclose(torch.cat([dense.whole[:, None], dense.patches], dim=1), expected, atol=1e-5)
    assert towers.pictures.project.bias is None


def test_a_cell_has_the_mean_colours_of_its_quarters() -> None:
    frame = np.zeros((1, 16, 32, 3), np.uint8)
    frame[0, :8, 24:, 0] = 255  # the upper right quarter of the second cell is red
    cells = read_cells(stem(), frame, colours=True)
    assert cells.rows.shape == (1, 2, 124)
    assert cells.rows[0, 0, 112:].tolist() == [0.0] * 12
    assert cells.rows[0, 1, 112:].tolist() == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, *([0.0] * 6)]
    assert torch.equal(cells.rows[..., :112], read_cells(stem(), frame, colours=False).rows)


def test_a_text_does_not_see_the_rest_of_its_batch_nor_what_stands_behind_its_end(towers: TwoTower) -> None:
    alone = towers.texts(["a red cube"])[0]
    assert torch.allclose(towers.texts(["a red cube", "a photo of a blue ball on the table"])[0], alone, atol=1e-6)
    assert not torch.allclose(towers.texts(["cube red a"])[0], alone, atol=1e-3)  # order counts


def test_a_gradient_reaches_the_context_and_nothing_else(towers: TwoTower) -> None:
    before = hash_tensors(towers.state_dict())
    context = torch.randn(3, towers.text_width, requires_grad=True, generator=torch.Generator().manual_seed(0))
    vectors = towers.texts(["a red cube", "a blue ball"], context=context)
    vectors[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    assert context.grad is not None
    assert context.grad.abs().amin() > 0
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(2))
    towers.train()
    assert not towers.training and not any(module.training for module in towers.modules())
    assert all(not weight.requires_grad and weight.grad is None for weight in towers.parameters())
    assert hash_tensors(towers.state_dict()) == before


def test_a_context_stands_behind_the_start(towers: TwoTower) -> None:
    context = torch.ones(2, towers.text_width)
    spoken, plain = towers.words.start(["red cube"], context), towers.words.start(["red cube"])
    assert spoken.tokens.shape[1] == plain.tokens.shape[1] + 2
    assert (spoken.ends - plain.ends).tolist() == [2]
    assert torch.allclose(spoken.tokens[0, 1:3] - towers.words.positions[1:3], context)
    assert torch.equal(spoken.tokens[0, 0], plain.tokens[0, 0])


def test_saved_towers_are_the_same_towers(towers: TwoTower, tmp_path: Path) -> None:
    towers.save_pretrained(tmp_path / "towers")
    again = TwoTower.from_pretrained(tmp_path / "towers")
    assert again.fingerprint == towers.fingerprint
    assert (again.scale, again.limit, again.width) == (20.0, 16, 8)
    assert torch.equal(again.images(frames()), towers.images(frames()))
    assert torch.equal(again.texts(["a red cube"]), towers.texts(["a red cube"]))


def test_other_weights_have_another_fingerprint(towers: TwoTower) -> None:
    assert build().fingerprint == towers.fingerprint
    assert build(seed=1).fingerprint != towers.fingerprint
    assert build(colours=False).fingerprint != towers.fingerprint


def test_towers_of_another_stem_are_refused(towers: TwoTower, tmp_path: Path) -> None:
    towers.save_pretrained(tmp_path / "towers")
    config = (tmp_path / "towers" / "config.json").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worldrl.checkpoint.sha256", lambda path: "same")
        manifest = tmp_path / "towers" / "manifest.json"
        manifest.write_text(
            '{"kind": "two_tower", "files": {"config.json": "same", "weights.safetensors": "same"}}'
        )  # fmt: skip
        (tmp_path / "towers" / "config.json").write_text(config.replace('"seed": 0', '"seed": 1'))
        with pytest.raises(CheckpointError, match="was made on another stem"):
            TwoTower.from_pretrained(tmp_path / "towers")
        (tmp_path / "towers" / "config.json").write_text(config.replace('"colours"', '"colour"'))
        with pytest.raises(CheckpointError, match="does not describe two towers"):
            TwoTower.from_pretrained(tmp_path / "towers")


def test_a_text_that_is_too_long_is_refused(towers: TwoTower) -> None:
    assert towers.texts([" ".join(["red"] * 14)]).shape == (1, 8)  # start, 14 words, end
    with pytest.raises(DataError, match="a text must have at most 14 words here, got 15"):
        towers.texts([" ".join(["red"] * 15)])
    with pytest.raises(DataError, match="a text must have at most 10 words here, got 11"):
        towers.texts([" ".join(["red"] * 11)], context=torch.zeros(4, towers.text_width))


def test_a_word_that_was_never_learned_is_refused(towers: TwoTower) -> None:
    with pytest.raises(DataError, match="a text must be made of known words, got 'helicopter'"):
        towers.texts(["a red helicopter"])


def test_what_are_no_texts_pictures_or_context_is_refused(towers: TwoTower) -> None:
    with pytest.raises(TypeError, match="texts must be a list of at least one string, got 'a red cube'"):
        towers.texts("a red cube")
    with pytest.raises(ValueError, match="got none"):
        towers.texts([])
    with pytest.raises(ValueError, match=r"context must be \(m, 12\), got \(2, 3\)"):
        towers.texts(["a red cube"], context=torch.zeros(2, 3))
    with pytest.raises(DataError, match="multiples of 16"):
        towers.images(frames(20, 32))
    with pytest.raises(TypeError, match="frames must be uint8"):
        towers.images(frames().astype(np.float32))
    with pytest.raises(ValueError, match=r"cells must be \(b, 4, 124\), got \(1, 6, 124\)"):
        towers.pictures(torch.zeros(1, 6, 124), (2, 2))


def test_a_causal_block_does_not_look_forward_and_a_plain_one_does() -> None:
    tokens = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 3, 0] += 1.0
    blocks = seeded(lambda: [Block(width=8, heads=2, causal=causal) for causal in (True, False)], 0)
    for block, expected in zip(blocks, ([False, False, False, True, True], [True] * 5), strict=True):
        moved = (block(tokens) - block(changed)).abs().amax(dim=-1)[0] > 1e-6
        assert moved.tolist() == expected


def test_towers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="heads must divide the width 10, got 4"):
        Block(width=10, heads=4)
    with pytest.raises(ConfigError, match="depth must be at least 1"):
        ImageTower(inputs=3, depth=0)
    with pytest.raises(ConfigError, match="limit at least 3"):
        TextTower(limit=2)
