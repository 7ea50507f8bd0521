"""Every reader of files against files that were cut off or changed: it reads, or refuses with an error of ours.

Where the hash of a file is kept beside it, the hash is made to agree, so that it is the reader that has to refuse.
"""

import json
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fault_data import small_scene
from hypothesis import given
from hypothesis import strategies as st

from worldrl import checkpoint
from worldrl.agents.policy import Origin, load_policy, make_policy
from worldrl.agents.sb3_zip import weights_of_sb3
from worldrl.data.dataset import Dataset
from worldrl.data.scenes import SceneSet, write_scenes
from worldrl.encoders.convert import read_dinov2_onnx, read_minilm_safetensors, read_source
from worldrl.encoders.tfjs import read_tfjs
from worldrl.encoders.wordpiece import WordPiece
from worldrl.errors import WorldRLError
from worldrl.json_file import read_json
from worldrl.objects import Annotations
from worldrl.recipes.annotate import _picture
from worldrl.torch_file import read_state
from worldrl.world_model.tokens import keep_tokens, kept_tokens

MOST_BYTES = 64 * 2**20
"""That a reader of a file of some kilobytes may take."""


def read_shard(path: Path) -> None:
    for episode in Dataset(path.parents[1]):
        np.asarray(episode.frames), np.asarray(episode.states)


def make_checkpoint(folder: Path) -> Path:
    checkpoint.save(folder / "x", kind="toy", config={"a": [1, 2.5, {"b": None}]}, tensors={"w": torch.arange(20.0)})
    return folder / "x"


def make_policy_folder(folder: Path) -> Path:
    make_policy((2, 3), 2).save_pretrained(folder / "p", origin=Origin("x"))
    return folder / "p"


def make_annotations(folder: Path) -> Path:
    frames, labels = np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 8, 8), np.uint8)
    labels[0, :4] = 1
    Annotations(frames, labels, ("thing",), "worldrl/Reach-v0").save_pretrained(folder / "a")
    return folder / "a"


def make_tokens(folder: Path) -> Path:
    episode = np.ones((4, 2, 3), np.float32), np.ones((3, 2), np.float32), np.zeros(4, bool), "policy"
    keep_tokens(folder / "t", [episode], about={"x": 1}, visual=0)
    return folder / "t"


def make_tfjs(folder: Path) -> Path:
    node = {"name": "y", "op": "Add", "input": ["x", "w"], "attr": {}}
    weight = {"name": "w", "shape": [2], "dtype": "float32"}
    told = {"modelTopology": {"node": [node]}, "weightsManifest": [{"weights": [weight]}]}
    (folder / "net.json").write_text(json.dumps(told))
    (folder / "net.bin").write_bytes(np.ones(2, np.float32).tobytes())
    return folder


def make_onnx(folder: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    values = {"onnx::Concat_1957": np.zeros((1, 1, 2)), "onnx::Reshape_1962": np.zeros((1, 4, 2)), "w": np.ones((2, 2))}
    weights = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])
    node = helper.make_node("MatMul", ["w", "w"], ["y"], name="/backbone/x/MatMul")
    onnx.save(helper.make_model(helper.make_graph([node], "g", [], [out], weights)), folder / "net.onnx")
    return folder


def make_torch(folder: Path) -> Path:
    torch.save({"w": torch.ones(3)}, folder / "net.pth")
    return folder


def make_sb3(folder: Path) -> Path:
    import zipfile

    torch.save({"w": torch.ones(3)}, folder / "policy.pth")
    with zipfile.ZipFile(folder / "policy.zip", "w") as archive:
        archive.write(folder / "policy.pth", "policy.pth")
    (folder / "policy.pth").unlink()
    return folder


def make_minilm(folder: Path) -> Path:
    from safetensors.torch import save_file

    names = ("word_embeddings.weight", "token_type_embeddings.weight", "position_embeddings.weight", "position_ids")
    save_file({f"embeddings.{name}": torch.ones(2, 3) for name in names}, folder / "model.safetensors")
    (folder / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\nred\n")
    return folder


def read_minilm(path: Path) -> None:
    words = read_source(read_minilm_safetensors, path.with_name("model.safetensors"))["vocabulary"]
    WordPiece(bytes(words.numpy().tobytes()).decode(errors="replace").splitlines())("a red mug")


def make_picture(folder: Path) -> Path:
    from PIL import Image

    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(folder / "mask-0.png")
    return folder


def make_json(folder: Path) -> Path:
    (folder / "any.json").write_text(json.dumps({"a": [1, 2.5, {"b": None}], "c": "ü"}))
    return folder


def of_shards(folder: Path) -> Path:
    from fault_data import small_episode

    from worldrl.data.dataset import DatasetWriter

    with DatasetWriter(folder / "set", env_id="Toy-v0", env_kwargs={}, objects=("a", "b")) as writer:
        writer.add(small_episode())
    return folder / "set"


READERS: dict[str, tuple[Callable[[Path], Path], str, Callable[[Path], Any]]] = {
    "checkpoint": (make_checkpoint, "*", lambda path: checkpoint.load(path.parent, kind="toy")),
    "policy": (make_policy_folder, "*", lambda path: load_policy(path.parent)),
    "shard": (of_shards, "shard-*/*", read_shard),
    "data set": (of_shards, "manifest.json", lambda path: Dataset(path.parent)),
    "scenes": (
        lambda folder: write_scenes(folder / "s", [small_scene()], meta={}).folder, "*",
        lambda path: SceneSet(path.parent)[0],
    ),
    "annotations": (make_annotations, "*", lambda path: Annotations.from_pretrained(path.parent)),
    "tokens": (make_tokens, "*", lambda path: kept_tokens(path.parent, about={"x": 1})),
    "tfjs": (make_tfjs, "*", lambda path: read_source(read_tfjs, path.with_suffix(".bin"))),
    "onnx": (make_onnx, "*.onnx", lambda path: read_source(read_dinov2_onnx, path)),
    "torch": (make_torch, "*.pth", read_state),
    "zip of stable-baselines3": (make_sb3, "*.zip", weights_of_sb3),
    "words": (make_minilm, "*", read_minilm),
    "picture": (make_picture, "*.png", _picture),
    "JSON": (make_json, "*.json", read_json),
}  # fmt: skip


def agree(folder: Path, file: Path) -> None:
    """Make the hashes that are kept beside a file agree with it."""
    for told in (folder / "manifest.json", file.parent / "episodes.json", folder / "scenes.json"):
        if told.exists() and told != file:
            value = json.loads(told.read_text())
            if file.name in value.get("files", {}):
                value["files"][file.name] = checkpoint.sha256(file)
                told.write_text(json.dumps(value))


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw how a file is cut off, or some of its bytes are changed, put in or left out."""
    kind = draw(st.sampled_from(["cut", "change", "change", "insert", "drop"]))
    places = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4))
    values = draw(st.binary(min_size=4, max_size=4))

    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        for place, value in zip(places, values, strict=False):
            at = int(place * len(changed)) if changed else 0
            if kind == "cut":
                return bytes(changed[:at])
            if kind == "change" and changed:
                changed[at] = value
            elif kind == "insert":
                changed.insert(at, value)
            elif changed:
                del changed[at]
        return bytes(changed)

    return damage


def places_of(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where every part of a JSON value is."""
    yield place
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places_of(value[key], (*place, key))


@st.composite
def warps(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw how one part of a JSON file becomes something else, or is left out."""
    which = draw(st.floats(0, 1, exclude_max=True))
    other = draw(st.sampled_from([None, -1, 10**30, 0.5, "", "x", True, [], {}, [None], "left out"]))

    def warp(content: bytes) -> bytes:
        value = {"": json.loads(content)}
        places = list(places_of(value))[1:]
        *way, last = places[int(which * len(places))]
        part: Any = value
        for key in way:
            part = part[key]
        if other == "left out" and way:
            del part[last]
        else:
            part[last] = other
        return json.dumps(value[""]).encode()

    return warp


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let what readers say of a damaged file be no error of the test."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.fault(1, 11, 24, 27)
@pytest.mark.parametrize("name", READERS)
def test_a_file_that_was_cut_off_or_changed_is_read_or_refused_with_an_error_of_ours(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    make, pattern, read = READERS[name]
    whole = make(tmp_path_factory.mktemp("whole"))
    files = sorted(file.relative_to(whole) for file in whole.glob(pattern) if file.is_file())
    copies = tmp_path_factory.mktemp("copies")
    for file in files:
        read(whole / file)

    @given(st.sampled_from(files), damages(), warps(), st.booleans())
    def survives(file: Path, damage: Callable[[bytes], bytes], warp: Callable[[bytes], bytes], parts: bool) -> None:
        shutil.rmtree(copies)
        shutil.copytree(whole, copies)
        change = warp if parts and file.suffix == ".json" else damage
        (copies / file).write_bytes(change((copies / file).read_bytes()))
        agree(copies, copies / file)
        tracemalloc.start()
        try:
            read(copies / file)
        except WorldRLError as error:
            assert str(error)
        finally:
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert most < MOST_BYTES

    survives()
