"""The feature cache computes each frame once, and loses nothing that was whole."""

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from worldrl.encoders import Encoder, FeatureCache, load_encoder
from worldrl.errors import CheckpointError, NumericsError, StorageError
from worldrl.types import Features, FrozenEncoder

Frames = npt.NDArray[np.uint8]


class Brightness:
    """An encoder of two numbers a half frame: brightness and its double. It counts the frames it was given."""

    name = "brightness"
    width, patch = 2, 1

    def __init__(self, fingerprint: str = "a" * 64, gain: float = 1.0) -> None:
        self.fingerprint, self.gain, self.seen = fingerprint, gain, 0
        self.source = {"name": self.name}

    def __call__(self, frames: Frames) -> Features:
        self.seen += len(frames)
        halves = torch.tensor(frames.reshape(len(frames), 2, -1).mean(axis=2)).float() * self.gain
        patches = torch.stack([halves, 2 * halves], dim=2)
        return Features(patches.mean(dim=1), patches, (2, 1))


def frames_of(*levels: int) -> Frames:
    """Return frames of 4x2 whose upper half has the level and whose lower half is black."""
    frames = np.zeros((len(levels), 4, 2, 3), np.uint8)
    frames[:, :2] = np.array(levels)[:, None, None, None]
    return frames


def assert_right(features: Features, *levels: int) -> None:
    assert features.grid == (2, 1)
    assert features.patches.dtype == features.cls.dtype == torch.float32
    assert features.patches[:, :, 0].tolist() == [[level, 0] for level in levels]
    assert features.cls[:, 1].tolist() == list(levels)


@pytest.fixture(params=["memory", "disk"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "disk" else None


def test_each_distinct_frame_is_encoded_once(folder: Path | None) -> None:
    encoder = Brightness()
    with FeatureCache(folder, encoder) as cache:
        assert_right(cache(frames_of(5, 6, 5)), 5, 6, 5)
        assert_right(cache(frames_of(6, 7, 5, 7)), 6, 7, 5, 7)
        assert encoder.seen == 3
        assert (cache.misses, cache.hits) == (3, 4)


def test_more_frames_than_a_chunk_keep_their_order(folder: Path | None) -> None:
    levels = np.random.default_rng(0).integers(0, 256, 600).tolist()
    frames = np.zeros((600, 4, 2, 3), np.uint8)
    frames[:, :2] = np.array(levels)[:, None, None, None]
    frames[:, 3] = np.arange(600)[:, None, None] % 200  # so that most frames are distinct
    with FeatureCache(folder, Brightness()) as cache:
        assert cache(frames).patches[:, 0, 0].tolist() == levels
        assert cache.misses == len(np.unique(frames, axis=0)) > 2 * 256


@pytest.mark.fault(34)
def test_a_frame_of_another_shape_with_the_same_bytes_is_another_frame(folder: Path | None) -> None:
    encoder = Brightness()
    with FeatureCache(folder, encoder) as cache:
        cache(frames_of(5))
        cache(frames_of(5).reshape(1, 2, 4, 3))
        assert encoder.seen == 2


def test_it_speaks_for_its_encoder(folder: Path | None) -> None:
    encoder = Brightness()
    cache: FrozenEncoder = FeatureCache(folder, encoder)
    assert (cache.name, cache.width, cache.fingerprint) == ("brightness", 2, "a" * 64)


def test_features_too_large_for_half_precision_are_refused(folder: Path | None) -> None:
    with FeatureCache(folder, Brightness(gain=1e6)) as cache, pytest.raises(NumericsError, match="within 65504"):
        cache(frames_of(5))


def test_features_survive_the_process(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(1, 2, 3))
    encoder = Brightness()
    with FeatureCache(tmp_path, encoder) as cache:
        assert_right(cache(frames_of(3, 1)), 3, 1)
        assert_right(cache(frames_of(4, 2)), 4, 2)
    assert encoder.seen == 1
    assert sorted(file.name for file in (tmp_path / ("a" * 16 + "-4x2")).iterdir()) == [
        "cls.f16",
        "index.bin",
        "lock",
        "meta.json",
        "patches.f16",
        "sums.bin",
    ]


@pytest.mark.fault(35)
@pytest.mark.parametrize("name", ["patches.f16", "cls.f16", "sums.bin", "index.bin"])
@pytest.mark.parametrize("change", [-3, 3])
def test_a_torn_tail_is_computed_again(tmp_path: Path, name: str, change: int) -> None:
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(1, 2, 3))
    file = next(tmp_path.glob(f"*/{name}"))
    content = file.read_bytes()
    file.write_bytes(content[:change] if change < 0 else content + b"\xff" * change)
    encoder = Brightness()
    with FeatureCache(tmp_path, encoder) as cache:
        assert_right(cache(frames_of(9, 3, 2, 1)), 9, 3, 2, 1)
    assert encoder.seen == (2 if change < 0 else 1)
    reopened = Brightness()
    with FeatureCache(tmp_path, reopened) as cache:
        assert_right(cache(frames_of(1, 2, 3, 9)), 1, 2, 3, 9)
    assert reopened.seen == 0


@pytest.mark.fault(35)
def test_keys_without_data_are_never_given_the_data_of_later_frames(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(1, 2, 3))
    for name, row in (("patches.f16", 8), ("cls.f16", 4)):
        file = next(tmp_path.glob(f"*/{name}"))
        file.write_bytes(file.read_bytes()[:row])
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(7, 8))
    with FeatureCache(tmp_path, Brightness()) as cache:
        assert_right(cache(frames_of(1, 2, 3, 7, 8)), 1, 2, 3, 7, 8)


@pytest.mark.fault(35)
@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
def test_whichever_write_fails_no_frame_gets_the_features_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(1, 2, 3))
    for name, row in (("patches.f16", 8), ("cls.f16", 4)):
        file = next(tmp_path.glob(f"*/{name}"))
        file.write_bytes(file.read_bytes()[:row])
    calls = itertools.count(1)

    def fail(handle: int) -> None:
        if next(calls) == call:
            raise OSError(28, "No space left on device")

    with FeatureCache(tmp_path, Brightness()) as cache:
        with monkeypatch.context() as patch, pytest.raises(StorageError, match="No space left"):
            patch.setattr("os.fsync", fail)
            cache(frames_of(7, 8))
        with FeatureCache(tmp_path, Brightness()) as reader:
            assert_right(reader(frames_of(1)), 1)
            assert reader.misses == 0
            for level in (2, 3):
                with pytest.raises(StorageError, match="is locked by pid"):
                    reader(frames_of(level))
        assert_right(cache(frames_of(1, 2, 3, 7, 8)), 1, 2, 3, 7, 8)
    with FeatureCache(tmp_path, Brightness()) as cache:
        assert_right(cache(frames_of(8, 7, 3, 2, 1)), 8, 7, 3, 2, 1)
        assert cache.misses == 0


@pytest.mark.fault(2, 35)
@pytest.mark.parametrize("name", ["patches.f16", "cls.f16", "sums.bin", "index.bin"])
def test_a_row_with_a_flipped_bit_is_computed_again_and_the_others_are_not(tmp_path: Path, name: str) -> None:
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(1, 2, 3))
    file = next(tmp_path.glob(f"*/{name}"))
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1  # in the second of three rows
    file.write_bytes(content)
    encoder = Brightness()
    with FeatureCache(tmp_path, encoder) as cache:
        assert_right(cache(frames_of(3, 2, 1)), 3, 2, 1)
        assert (encoder.seen, cache.hits, cache.misses) == (1, 2, 1)
    with FeatureCache(tmp_path, Brightness()) as cache:
        assert_right(cache(frames_of(1, 2, 3)), 1, 2, 3)
        assert cache.misses == 0


def test_frames_whose_keys_were_exchanged_do_not_exchange_their_features(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(1, 2))
    file = next(tmp_path.glob("*/index.bin"))
    content = file.read_bytes()
    file.write_bytes(content[16:] + content[:16])
    with FeatureCache(tmp_path, Brightness()) as cache:
        assert_right(cache(frames_of(1, 2)), 1, 2)
        assert cache.misses == 2


def test_a_description_that_is_damaged_meanwhile_is_written_anew(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(1))
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(1))
        next(tmp_path.glob("*/meta.json")).write_text("{")
        assert_right(cache(frames_of(1, 2)), 1, 2)
    with FeatureCache(tmp_path, Brightness()) as cache:
        assert_right(cache(frames_of(2, 1)), 2, 1)
        assert cache.misses == 0


def test_damage_that_a_reader_finds_is_mended_by_the_next_writer(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, Brightness()) as writer:
        writer(frames_of(1))
        file = next(tmp_path.glob("*/cls.f16"))
        file.write_bytes(b"\xff" * 4)
        with pytest.raises(StorageError, match="is locked by pid"):
            FeatureCache(tmp_path, Brightness())(frames_of(1))
    with FeatureCache(tmp_path, Brightness()) as cache:
        assert_right(cache(frames_of(1)), 1)


@pytest.mark.fault(35)
@pytest.mark.parametrize("change", ["width", "json", "gone"])
def test_features_whose_description_was_damaged_are_computed_again(tmp_path: Path, change: str) -> None:
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(1, 2, 3))
    file = next(tmp_path.glob("*/meta.json"))
    if change == "gone":
        file.unlink()
    else:
        text = file.read_text()
        file.write_text(text.replace('"width": 2', '"width": 1') if change == "width" else text[:-9])
    encoder = Brightness()
    with FeatureCache(tmp_path, encoder) as cache:
        assert_right(cache(frames_of(2, 1)), 2, 1)
    with FeatureCache(tmp_path, Brightness()) as cache:
        assert_right(cache(frames_of(1, 2)), 1, 2)
    assert (encoder.seen, cache.misses) == (2, 0)


@pytest.mark.fault(33)
def test_another_fingerprint_finds_nothing(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(1))
    other = Brightness(fingerprint="b" * 64)
    with FeatureCache(tmp_path, other) as cache:
        cache(frames_of(1))
    assert other.seen == 1


@pytest.mark.fault(33)
def test_a_fingerprint_that_only_begins_the_same_is_refused(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, Brightness()) as cache:
        cache(frames_of(1))
    with FeatureCache(tmp_path, Brightness("a" * 16 + "b" * 48)) as cache, pytest.raises(CheckpointError, match="must"):
        cache(frames_of(1))


@pytest.mark.fault(35)
def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, Brightness()) as first:
        first(frames_of(1))
        second = FeatureCache(tmp_path, Brightness())
        assert_right(second(frames_of(1)), 1)
        with pytest.raises(StorageError, match=r"aaaa-4x2 is locked by pid \d+ on "):
            second(frames_of(2))
        first(frames_of(2))
    assert_right(second(frames_of(2)), 2)
    assert second.misses == 0
    assert_right(second(frames_of(3)), 3)
    second.close()


@pytest.mark.fault(7)
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with FeatureCache(tmp_path / "file", Brightness()) as cache, pytest.raises(StorageError, match=r"file/a+-4x2"):
        cache(frames_of(1))


def test_a_real_encoder_keeps_its_features_to_half_precision(tmp_path: Path) -> None:
    encoder: Encoder = load_encoder("efficientnet_lite0", random_init=True)
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    exact = encoder(frames)
    with FeatureCache(tmp_path, encoder) as cache:
        assert cache.patch == 16
        fresh, again = cache(frames), cache(frames)
    assert torch.equal(fresh.patches, again.patches)
    torch.testing.assert_close(fresh.patches, exact.patches, rtol=1e-3, atol=1e-3)
    assert fresh.grid == exact.grid
