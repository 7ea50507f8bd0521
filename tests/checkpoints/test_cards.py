"""Model cards say what a checkpoint is, are among its hashed files, and stand in no way of loading."""

import ast
import json
from pathlib import Path

import pytest
import torch
from toy import refusal

from worldrl import checkpoint
from worldrl.cards import KINDS, card
from worldrl.facts import known, tell, tell_whole
from worldrl.verification import verify_folder, verify_tree

ROOT = Path(__file__).parents[2]
UNCARDED = {"training", "encoder_weights", "dense_features", "toy"}
CONFIG = {"obs_shape": [6, 10], "act_dim": 4, "origin": {"pipeline": "a" * 64, "real_steps": 3300}}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy"
    checkpoint.save(path, kind="policy", config=CONFIG, tensors={"a": torch.arange(4.0)})
    return path


def front(text: str) -> dict[str, object]:
    import yaml

    return dict(yaml.safe_load(text.split("---\n")[1]))


def test_a_saved_policy_has_a_card_with_the_front_matter_of_the_hub(policy: Path) -> None:
    text = (policy / "README.md").read_text()
    assert front(text) == {
        "library_name": "worldrl", "license": "mit", "pipeline_tag": "reinforcement-learning",
        "tags": ["worldrl", "policy"],
    }  # fmt: skip
    assert "| Observations | 6, 10 |" in text
    assert "| Real steps it learned from | 3300 |" in text
    assert "Imagined success is not success" in text
    assert "a" * 13 not in text


@pytest.mark.parametrize("kind", KINDS)
def test_the_hub_reads_the_front_matter_of_every_kind(kind: str, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard, ModelCardData

    facts = {"task": "worldrl/Reach-v0", "masks": 'a: "b" | c\n---\n', "real_success": "25.0 % [14.2, 40.2]"}
    checkpoint.save(tmp_path / "saved", kind=kind, config={"obs_shape": [6, 10]}, tensors={"a": torch.ones(1)})
    tell(tmp_path / "saved", **facts)
    data = ModelCard.load(tmp_path / "saved" / "README.md").data
    assert isinstance(data, ModelCardData)
    assert (data.library_name, data.license, data.pipeline_tag) == ("worldrl", "mit", KINDS[kind].pipeline or None)
    assert data.tags == ["worldrl", *KINDS[kind].tags, "worldrl/Reach-v0"]


def test_the_card_is_among_the_hashed_files_and_its_change_is_seen(policy: Path) -> None:
    assert verify_folder(policy).damaged == ()
    (policy / "README.md").write_text("mine")
    assert verify_folder(policy).damaged == (f"{policy / 'README.md'} does not match its manifest.",)
    assert checkpoint.load(policy, kind="policy").config == CONFIG  # a hand that mends a card breaks nothing


def test_a_folder_without_a_card_loads(policy: Path) -> None:
    (policy / "README.md").unlink()
    manifest = json.loads((policy / "manifest.json").read_text())
    del manifest["files"]["README.md"]
    (policy / "manifest.json").write_text(json.dumps(manifest))
    assert checkpoint.load(policy, kind="policy").config == CONFIG
    assert verify_folder(policy).damaged == ()


def test_what_becomes_known_later_joins_the_card_and_touches_nothing_else(policy: Path) -> None:
    (policy / "refinement.json").write_text("{}")
    weights = (policy / "weights.safetensors").read_bytes()
    tell(policy, task="worldrl/Reach-v0", masks="simulator")
    tell(policy, real_success="25.0 % [14.2, 40.2]")
    text = (policy / "README.md").read_text()
    assert all(said in text for said in ("| Masks | simulator |", "25.0 % [14.2, 40.2]", '- "worldrl/Reach-v0"'))
    assert (policy / "weights.safetensors").read_bytes() == weights
    assert (policy / "refinement.json").read_text() == "{}"
    assert json.loads((policy / "manifest.json").read_text())["facts"]["masks"] == "simulator"
    assert verify_folder(policy).damaged == ()
    assert [one.name for one in policy.parent.iterdir()] == ["policy"]


def test_what_is_known_of_a_whole_joins_the_cards_of_its_parts(policy: Path) -> None:
    run = policy.parent
    checkpoint.save(run / "model", kind="world_model", config={}, tensors={"a": torch.arange(4.0)})
    tell(policy, masks="none")
    tell_whole(run, masks="simulator", episodes=7)
    assert known(policy) == known(run / "model") == {"masks": "simulator", "episodes": 7}
    assert "| Episodes it learned from | 7 |" in (run / "model" / "README.md").read_text()
    assert verify_tree(run).damaged == ()
    assert not (run / "manifest.json").exists() and known(run) == {}


@pytest.mark.fault(2)
def test_telling_does_not_make_damage_whole(policy: Path) -> None:
    """Fault 2: the hash of a damaged file is not written anew."""
    content = bytearray((policy / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (policy / "weights.safetensors").write_bytes(content)
    tell(policy, task="t")
    assert "does not match its manifest" in refusal(policy, "policy")


def test_the_same_checkpoint_has_the_same_card() -> None:
    assert card("world", {}, {"task": "t"}, version="1") == card("world", {}, {"task": "t"}, version="1")


def test_every_kind_that_is_saved_has_a_card_and_three_lines_that_parse() -> None:
    found = set()
    for folder in ("worldrl", "agents"):
        for path in (ROOT / folder).rglob("*.py"):
            if "save_pretrained" not in (text := path.read_text()):
                continue
            constants = {
                node.targets[0].id: node.value.value
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
                and isinstance(node.value, ast.Constant)
            }  # fmt: skip
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.keyword) and node.arg == "kind":
                    found.add(node.value.value if isinstance(node.value, ast.Constant) else constants["KIND"])
    assert found - UNCARDED == set(KINDS)
    for about in KINDS.values():
        ast.parse(about.load.replace("PATH", "'x'"))
        assert len([line for line in about.load.splitlines() if line]) <= 3


@pytest.mark.fault(2)
def test_verify_finds_every_damaged_file_of_a_tree(tmp_path: Path) -> None:
    """Fault 2: one bit in each of two checkpoints."""
    for name in ("a", "b/c"):
        checkpoint.save(tmp_path / name, kind="toy", config={}, tensors={"x": torch.ones(3)})
        file = tmp_path / name / "weights.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    verdict = verify_tree(tmp_path)
    assert (len(verdict.damaged), verdict.whole) == (2, 2)


@pytest.mark.fault(18)
def test_a_manifest_that_points_out_of_its_folder_is_damage(policy: Path) -> None:
    """Fault 18: nothing outside is read."""
    (policy.parent / "secret").write_text("x")
    manifest = json.loads((policy / "manifest.json").read_text())
    manifest["files"]["../secret"] = checkpoint.sha256(policy.parent / "secret")
    (policy / "manifest.json").write_text(json.dumps(manifest))
    assert "lies outside its folder" in verify_folder(policy).damaged[0]
