"""Every stage runs on visual tokens, beside objects and alone, and the world draws with their decoder."""

import json
from pathlib import Path

import pytest
import torch

from worldrl import checkpoint, cli
from worldrl.recipes import clone, collect, encode, evaluate, fidelity, fit, refine
from worldrl.recipes.options import EncoderOptions, EnvOptions, ObjectOptions, WorldModelOptions
from worldrl.world_model.decoder import TokenDecoder
from worldrl.world_model.visual import VisualDecoder
from worldrl.world_model.world import World

ENV = EnvOptions(id="worldrl/Reach-v0", kwargs={"size": 64, "max_steps": 18})
KINDS = {
    "objects": (ObjectOptions(), (6, 10)),
    "both": (ObjectOptions(visual=4, visual_steps=3), (10, 32)),
    "visual": (ObjectOptions(masks="no_objects", visual=4, visual_steps=3), (5, 32)),
}


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> str:
    at = str(tmp_path_factory.mktemp("data") / "episodes")
    for policy in ("expert", "random"):
        collect.run(collect.Config(env=ENV, out=at, policy=policy, episodes=4))
    return at


@pytest.mark.parametrize("kind", KINDS)
def test_every_stage_runs_on_every_kind_of_observation(episodes: str, kind: str, tmp_path: Path) -> None:
    objects, shape = KINDS[kind]
    at = {name: str(tmp_path / name) for name in ("observation", "clone", "world", "refined", "fidelity.json")}
    data = {"episodes": episodes, "observation": at["observation"]}
    encode.run(
        encode.Config(
            episodes=episodes, out=at["observation"], encoder=EncoderOptions(name="none"), objects=objects, frames=100
        )
    )
    clone.run(clone.Config(**data, out=at["clone"], steps=5))
    fit.run(
        fit.Config(
            **data, out=at["world"], world_model=WorldModelOptions(size="tiny"), steps=5, success_steps=5,
            decoder_steps=2, post_steps=2, held_out=0.5,
        )
    )  # fmt: skip
    world = World.from_pretrained(Path(at["world"]))
    assert world.model.obs_shape == shape
    assert type(world.decoder) is (TokenDecoder if kind == "objects" else VisualDecoder)
    refine.run(
        refine.Config(
            world=at["world"], policy=at["clone"], out=at["refined"], steps=512, trials=4,
            trust=refine.TrustOptions(slack=1.0),
        )
    )  # fmt: skip
    evaluate.run(
        evaluate.Config(
            env=ENV, policies=[at["clone"], at["refined"]], observation=at["observation"], world=at["world"],
            out=str(tmp_path / "evaluation.json"), episodes=2,
        )
    )  # fmt: skip
    fidelity.run(fidelity.Config(**data, world=at["world"], out=at["fidelity.json"], held_out=0.5, pictures=1))
    assert json.loads((tmp_path / "fidelity.json").read_text())["pictures"]["size"] == 64


def test_a_seed_decides_the_decoder_whatever_was_drawn_before(episodes: str, tmp_path: Path) -> None:
    seen, found = str(tmp_path / "observation"), []
    objects = ObjectOptions(visual=4, visual_steps=3)
    encode.run(encode.Config(episodes=episodes, out=seen, encoder=EncoderOptions(name="none"), objects=objects))
    for before in range(2):
        torch.manual_seed(before)
        out = str(tmp_path / f"world-{before}")
        fit.run(
            fit.Config(
                episodes=episodes, observation=seen, out=out, world_model=WorldModelOptions(size="tiny"), steps=2,
                success_steps=2, post_steps=2, held_out=0.5,
            )
        )  # fmt: skip
        decoder = World.from_pretrained(Path(out)).decoder
        assert decoder is not None
        found.append(checkpoint.hash_tensors(decoder.state_dict()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("objects.masks=no_objects", "objects.masks=no_objects needs objects.visual=4 (or 1, 16), encoder.name=none"),
        ("objects.visual=3", "visual tokens must be one of 1, 4, 16, got 3"),
        ("objects.visual_steps=0", "visual_steps must be positive, got 0"),
    ],
)
def test_a_contradiction_is_refused_before_anything_is_read(words: str, sentence: str, capsys: object) -> None:
    assert cli.main(["encode", "episodes=nowhere", "out=o", *words.split()]) == 2
    assert sentence in capsys.readouterr().err  # type: ignore[attr-defined]
