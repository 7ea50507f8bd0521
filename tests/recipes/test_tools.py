"""verify, inspect, repair, convert and hub: what they say of whole folders, of damaged ones, and of what is neither."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from worldrl import checkpoint, cli
from worldrl.data.dataset import Dataset, DatasetWriter
from worldrl.types import Episode

DEAD = 2**22 + 1  # above Linux's highest process number


def episode(seed: int, *, policy: str = "expert", won: bool = True) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        frames=rng.integers(0, 255, (4, 8, 8, 3), np.uint8), labels=np.zeros((4, 8, 8), np.uint8),
        proprio=np.zeros((4, 2), np.float32), acts=np.zeros((3, 2), np.float32), rews=np.zeros(3, np.float32),
        success=np.array([False, False, False, won]), states=np.zeros((4, 1)), end=won, trunc=not won, seed=seed,
        policy=policy,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run: a policy, three shards of two episodes, and a summary."""
    out = tmp_path / "run"
    config = {"obs_shape": [6, 10], "act_dim": 4, "origin": {"pipeline": "p", "real_steps": 9}}
    checkpoint.save(out / "policy", kind="policy", config=config, tensors={"a": torch.ones(2, 3), "b": torch.ones(4)})
    with DatasetWriter(out / "episodes", env_id="Toy-v0", env_kwargs={}, objects=[], episodes_per_shard=2) as writer:
        for seed in range(6):
            writer.add(episode(seed, policy="expert" if seed < 4 else "random", won=seed < 3))
    checkpoint.write_json(out / "summary.json", {"gain": 1})
    return out


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Run a verb with --json and return its exit code and its one object."""
    code = cli.main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_whole_run_is_verified(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = told(capsys, "verify", str(run))
    assert (code, result["damaged"]) == (0, [])
    assert result["whole"] == 3 + 1 + 3 * 9 + 1  # policy, manifest of the data, its shards, summary


@pytest.mark.fault(2)
def test_every_damaged_file_is_named_and_the_exit_code_is_that_of_checkpoints(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 2: one bit in weights, one in frames that no shape would show; and fault 1 for JSON beside them."""
    frames = run / "episodes" / "shard-00000-00001" / "frames.npy"
    for path in (run / "policy" / "weights.safetensors", frames):
        flip(path)
    (run / "summary.json").write_text('{"gain": ')
    code, result = told(capsys, "verify", str(run))
    assert (code, result["error"]["exit_code"], result["error"]["kind"]) == (4, 4, "CheckpointError")
    damaged = "\n".join(result["error"]["damaged"])
    assert len(result["error"]["damaged"]) == 3
    assert all(name in damaged for name in ("policy/weights.safetensors", str(frames), "summary.json"))
    assert cli.main(["verify", str(run / "episodes")]) == 3


def forget_hashes(shard: Path) -> None:
    """Make a shard as it was before shards kept hashes."""
    told = json.loads((shard / "episodes.json").read_text())
    (shard / "episodes.json").write_text(json.dumps({"episodes": told["episodes"]}))


@pytest.mark.fault(24)
@pytest.mark.parametrize("name", ["frames.npy", "episodes.json", "fields.npz", "acts.npy"])
@pytest.mark.parametrize("hashes", [True, False])
def test_a_truncated_file_of_a_shard_is_found_with_and_without_hashes(run: Path, name: str, hashes: bool) -> None:
    """Fault 24: also in data sets of before shards had hashes."""
    shard = run / "episodes" / "shard-00000-00000"
    if not hashes:
        forget_hashes(shard)
    (shard / name).write_bytes((shard / name).read_bytes()[:-9])
    assert cli.main(["verify", str(run / "episodes")]) == 3


def test_a_data_set_without_hashes_is_whole_by_its_shapes(run: Path) -> None:
    for shard in run.rglob("shard-*"):
        forget_hashes(shard)
    assert cli.main(["verify", str(run / "episodes")]) == 0


@pytest.mark.fault(3)
def test_a_missing_manifest_is_no_checkpoint(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fault 3: what has no manifest was never finished."""
    (run / "policy" / "manifest.json").unlink()
    code, result = told(capsys, "verify", str(run / "policy"))
    assert code == 0 and result["whole"] == 1  # its config is JSON; nothing vouches for the weights
    assert cli.main(["inspect", str(run / "policy")]) == 2


@pytest.mark.parametrize("verb", ["verify", "inspect", "repair"])
def test_what_is_not_there_is_refused(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, str(tmp_path / "nothing")]) == 2
    assert cli.main([verb]) == 2
    assert f"{verb} must be" in capsys.readouterr().err
    if verb != "repair":
        assert cli.main([verb, str(tmp_path)]) == 2


def test_inspect_says_what_a_checkpoint_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = told(capsys, "inspect", str(run / "policy"))
    assert code == 0
    wanted = {"kind": "policy", "obs_shape": [6, 10], "act_dim": 4, "real_steps": 9, "parameters": 10, "tensors": 2}
    assert {name: result[name] for name in wanted} == wanted


def test_inspect_says_what_a_data_set_holds(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = told(capsys, "inspect", str(run / "episodes"))
    assert (code, result["episodes"], result["steps"]) == (0, 6, 18)
    assert result["policies"] == {"expert": {"episodes": 4, "success": 0.75}, "random": {"episodes": 2, "success": 0.0}}


def test_inspect_of_a_run_lists_what_is_in_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, result = told(capsys, "inspect", str(run))
    assert [one["kind"] for one in result["found"]] == ["data set", "policy"]


@pytest.mark.fault(24)
def test_repair_takes_out_damaged_shards_and_touches_nothing_else(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 24: what was finished stays; a damaged checkpoint is not repair's to mend."""
    flip(run / "episodes" / "shard-00000-00001" / "frames.npy")
    flip(run / "policy" / "weights.safetensors")
    before = contents(run)
    code, result = told(capsys, "repair", str(run))
    assert (code, result["episodes"], len(result["dropped"])) == (0, 4, 1)
    assert "frames.npy is damaged" in result["dropped"][0]["why"]
    assert Dataset(run / "episodes").seeds == [0, 1, 4, 5]
    after = contents(run)
    moved = {path for path in before if path not in after}
    assert all("shard-00000-00001" in str(path) for path in moved)
    assert all(after[path] == before[path] for path in before if path in after)
    assert (run / "episodes.dropped" / "shard-00000-00001" / "acts.npy").is_file()
    assert told(capsys, "repair", str(run))[1]["dropped"] == []


def test_repair_of_what_is_whole_changes_nothing(run: Path) -> None:
    before = contents(run)
    assert cli.main(["repair", str(run)]) == 0
    assert contents(run) == before


@pytest.mark.fault(3)
def test_repair_sweeps_what_dead_runs_left_and_nothing_of_the_living(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 3: ``.tmp-*`` of a process that is gone; one that lives keeps its own."""
    dead = [run / f".tmp-world-{DEAD}", run / "episodes" / f".tmp-shard-00000-00003-{DEAD}"]
    kept = [run / f".tmp-world-{os.getpid()}", run / f".tmp-refined-{DEAD}.old"]
    for path in (*dead, *kept):
        path.mkdir()
        (path / "manifest.json").write_text("{")
    (run / f".tmp-summary.json-{DEAD}").write_text("{")
    code, result = told(capsys, "repair", str(run))
    assert code == 0
    assert {Path(path).name for path in result["swept"]} == {*(one.name for one in dead), f".tmp-summary.json-{DEAD}"}
    assert not any(path.exists() for path in dead)
    assert all(path.exists() for path in kept)


def test_repair_cannot_invent_a_manifest(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "episodes" / "manifest.json").unlink()
    code, result = told(capsys, "repair", str(run / "episodes"))
    assert code == 3 and "manifest.json" in result["error"]["message"]


def test_convert_tells_the_direction_by_what_lies_there(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    source, there, back = str(run / "episodes"), str(tmp_path / "lerobot"), str(tmp_path / "back")
    code, result = told(capsys, "convert", source, there, "format=lerobot", "fps=20")
    assert (code, result["episodes"], result["not_kept"]) == (0, 6, ["labels", "states", "fields"])
    code, result = told(capsys, "convert", there, back)
    assert (code, result["episodes"], result["format"]) == (0, 6, "lerobot")
    assert result["lacks"] == ["labels", "states", "fields"]
    assert np.array_equal(Dataset(back)[5].frames, Dataset(source)[5].frames)
    assert told(capsys, "inspect", back)[1]["lacks"] == ["labels", "states", "fields"]
    needy = {
        "annotate": ([f"out={tmp_path / 'a'}"], "labels for annotate"),
        "probe": (["encoders=[]", f"out={tmp_path / 'probe.json'}"], "labels and states for probe"),
        "encode": (["encoder=none", f"out={tmp_path / 'o'}"], "labels for objects.masks=simulator"),
    }
    for verb, (words, wanted) in needy.items():
        code, result = told(capsys, verb, f"episodes={back}", *words)
        assert code == 3 and f"{back} must have {wanted}" in result["error"]["message"]
        assert "the format that it was imported from does not keep them" in result["error"]["message"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "convert must be followed by FROM TO"),
        (["EPISODES", "x"], "say format=minari or format=lerobot"),
        (["EPISODES", "x", "format=hdf5"], "format one of minari, lerobot"),
        (["EPISODES", "x", "format=lerobot", "fps=fast"], "fps must be a number"),
        (["EPISODES", "x", "format=lerobot", "fps=0"], "fps must be a positive number"),
        (["POLICY", "x"], "must be a data set of worldrl"),
        (["../up-v0", "x"], "dataset_id must be like"),
    ],
)
def test_convert_refuses_in_one_sentence(
    run: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"EPISODES": str(run / "episodes"), "POLICY": str(run / "policy")}
    assert cli.main(["convert", *(places.get(word, word) for word in words)]) == 2
    assert sentence in capsys.readouterr().err


def test_hub_refuses_what_it_is_not_asked_in(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["push"], ["push", str(run / "policy"), "a/b", "private=perhaps"], ["pull", "nameonly", "x"]):
        assert cli.main(["hub", *words]) == 2
    assert "hub must be followed by" in capsys.readouterr().err
