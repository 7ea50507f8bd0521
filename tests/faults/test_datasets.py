"""Faults of data sets, pictures and caches that their rooms do not show."""

import io
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fault_data import flip

from worldrl import checkpoint, cli
from worldrl.data.dataset import Dataset
from worldrl.data.scenes import SceneSet
from worldrl.encoders import FeatureCache, load_encoder
from worldrl.errors import DataError
from worldrl.recipes.annotate import _picture
from worldrl.recipes.held_out import split
from worldrl.recipes.tools.verify import verify
from worldrl.types import Episode


@pytest.mark.fault(2)
@pytest.mark.parametrize("name", ["frames.npy", "labels.npy", "states.npy", "success.npy", "fields.npz"])
def test_a_bit_that_flipped_in_a_shard_is_found_when_the_shard_is_read(dataset: Path, name: str) -> None:
    flip(dataset / "shard-00000-00000" / name)
    with pytest.raises(DataError, match=rf"shard-00000-00000/{name} is damaged: it is not what was written.*Delete"):
        Dataset(dataset)[0]
    assert len(Dataset(dataset)[2]) == 3  # the other shard stays


@pytest.mark.fault(2)
def test_a_digit_that_changed_in_what_is_said_of_episodes_is_found(dataset: Path) -> None:
    file = dataset / "shard-00000-00000" / "episodes.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 4'))
    with pytest.raises(DataError, match=r"episodes\.json is damaged: .*it is not what was written"):
        Dataset(dataset)


@pytest.mark.fault(2)
def test_a_bit_that_flipped_in_scenes_is_found(scenes: Path) -> None:
    flip(scenes / "images.npy")
    with pytest.raises(DataError, match=r"images\.npy is not what was written: make the scenes again"):
        SceneSet(scenes)


@pytest.mark.fault(2)
def test_verify_lists_what_is_whole_and_what_is_not(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(tmp_path / "model", kind="toy", config={}, tensors={"a": torch.ones(9)})
    assert verify([str(tmp_path)]).figures["damaged"] == []
    flip(tmp_path / "model" / "weights.safetensors")
    flip(dataset / "shard-00000-00001" / "frames.npy")
    assert cli.main(["verify", str(tmp_path)]) == 4
    told = capsys.readouterr()
    assert "weights.safetensors does not match its manifest" in told.out + told.err
    assert "shard-00000-00001/frames.npy is damaged" in told.out + told.err
    assert cli.main(["verify", str(tmp_path / "nothing")]) == 2


@pytest.mark.fault(23)
@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_folder_of_an_impossible_name_is_refused_and_none_is_made(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["collect", f"out='{name}'", "episodes=1"]) in (2, 8)
    assert list(tmp_path.iterdir()) == []


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.fault(31)
@pytest.mark.parametrize("name", ["frames.npy", "fields.npz"])
def test_a_pickle_under_the_name_of_an_array_is_refused_and_not_run(dataset: Path, tmp_path: Path, name: str) -> None:
    (dataset / "shard-00000-00000" / name).write_bytes(pickle.dumps(Payload(tmp_path / "marker")))
    with pytest.raises(DataError, match=f"{name} is damaged"):
        Dataset(dataset)[0]
    assert not (tmp_path / "marker").exists()


def header(shape: tuple[int, ...]) -> bytes:
    """Return the beginning of an npy file of bytes that declares a shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.fault(32)
def test_an_array_that_declares_far_more_than_is_there_is_refused(dataset: Path) -> None:
    (dataset / "shard-00000-00000" / "frames.npy").write_bytes(header((50_000, 50_000, 50_000)) + b"x" * 64)
    with pytest.raises(DataError, match=r"frames\.npy is damaged"):
        Dataset(dataset)


FEW_BYTES = 2**31
READ = """
import sys
from pathlib import Path
from worldrl.data.shard import read_fields
from worldrl.errors import DataError
try:
    read_fields(Path(sys.argv[1]), 2)
except DataError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.fault(32)
@pytest.mark.parametrize("compressed", [True, False])
def test_an_archive_that_declares_far_more_than_is_there_is_refused_in_little_memory(
    dataset: Path, compressed: bool
) -> None:
    path = dataset / "shard-00000-00000"
    (path / "fields.npz").unlink()
    with zipfile.ZipFile(path / "fields.npz", "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as bomb:
        bomb.writestr("0/goal.npy", header((10**14,)) + bytes(2**24 if compressed else 64))

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 * FEW_BYTES, 4 * FEW_BYTES))

    command = [sys.executable, "-c", READ, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, preexec_fn=bound)
    assert done.returncode == 3, done.stderr
    assert "fields.npz is damaged" in done.stdout
    assert ("it is compressed" in done.stdout) == compressed


def png(width: int, height: int) -> bytes:
    """Return a picture that declares a size and has nothing in it."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b""))]
    chunks = [struct.pack(">I", len(x)) + tag + x + struct.pack(">I", zlib.crc32(tag + x)) for tag, x in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.fault(27, 32)
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (png(50_000, 50_000), "cannot be read as a picture|sides of at most 2048 pixels, got 50000"),
        (png(5_000, 5), "sides of at most 2048 pixels, got 5000"),
        (png(8, 8), "cannot be read as a picture"),
        (b"", "cannot be read as a picture"),
        (b"GIF89a" + b"\xff" * 40, "cannot be read as a picture"),
    ],
)
def test_a_picture_that_is_damaged_or_far_too_large_is_one_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "mask-0.png").write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        _picture(tmp_path / "mask-0.png")
    assert "\n" not in str(caught.value)


@pytest.mark.fault(33, 34)
def test_one_weight_that_changed_makes_every_cached_feature_a_miss(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    for seed, expected in ((0, (0, 3)), (0, (3, 0)), (1, (0, 3)), (0, (3, 0))):
        encoder = load_encoder("dinov2_vits14", layer=1, random_init=True, seed=seed)
        with FeatureCache(tmp_path / "cache", encoder) as cache:
            cache(frames)
            assert (cache.hits, cache.misses) == expected
    frames[0, 0, 0, 0] ^= 1
    with FeatureCache(tmp_path / "cache", load_encoder("dinov2_vits14", layer=1, random_init=True)) as cache:
        cache(frames)
        assert (cache.hits, cache.misses) == (2, 1)


@pytest.mark.fault(36)
@pytest.mark.parametrize("policies", [[], ["policy"], ["noisy_expert"]])
def test_nothing_to_learn_from_or_to_hold_out_is_refused(policies: list[str]) -> None:
    with pytest.raises(DataError, match="episodes must be at least 2, to learn from and to hold out, got"):
        split(policies, 0.15)


@pytest.mark.fault(20)
def test_a_rejected_episode_leaves_no_trace(tmp_path: Path, make_writer: Callable[..., Any], episode: Episode) -> None:
    from dataclasses import replace

    wrong = replace(episode, rews=np.full_like(episode.rews, np.nan))
    with (
        make_writer(tmp_path / "new") as writer,
        pytest.raises(DataError, match="rews must be finite, got nan"),
    ):
        writer.add(wrong)
    assert list((tmp_path / "new").iterdir()) == []
