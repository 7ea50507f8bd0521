from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from worldrl.data.rows import Joined
from worldrl.errors import DataError
from worldrl.world_model.tokens import Observed, Tokens, keep_tokens, kept_tokens

ABOUT = {"pipeline": "abc"}
POLICIES = ["expert", "random", "policy"]


def episodes(shape: tuple[int, ...] = (3, 5)) -> Iterator[Observed]:
    rng = np.random.default_rng(0)
    for length, who in zip((4, 1, 6), POLICIES, strict=True):
        obs = rng.integers(0, 256, (length + 1, *shape)).astype(np.float32) / 127.5 - 1.0
        yield obs, rng.uniform(-1, 1, (length, 2)).astype(np.float32), rng.random(length + 1) < 0.5, who


def same(tokens: Tokens, index: list[int], shape: tuple[int, ...]) -> bool:
    truth = [list(episodes(shape))[i] for i in index]
    parts = zip(truth, tokens.obs, tokens.acts, tokens.success, strict=True)
    return all(
        np.allclose(obs, told[0], atol=1e-6) and np.array_equal(acts, told[1]) and np.array_equal(success, told[2])
        for told, obs, acts, success in parts
    )


@pytest.mark.parametrize("shape", [(3, 5), (3, 16, 16)])
def test_what_is_kept_is_read_again(tmp_path: Path, shape: tuple[int, ...]) -> None:
    keep_tokens(tmp_path / "kept", episodes(shape), about=ABOUT, visual=2)
    found = kept_tokens(tmp_path / "kept", about=ABOUT)
    assert found is not None and same(found, [0, 1, 2], shape)
    assert list(found.policies) == POLICIES and found.visual == 2
    some = found.subset([2, 0])
    assert same(some, [2, 0], shape) and list(some.policies) == ["policy", "expert"]
    assert isinstance(some.obs, Joined) and isinstance(some.obs.rows, np.memmap)


def test_no_episode_may_be_chosen(tmp_path: Path) -> None:
    keep_tokens(tmp_path / "kept", episodes(), about=ABOUT, visual=0)
    found = kept_tokens(tmp_path / "kept", about=ABOUT)
    assert found is not None and len(found.subset([])) == len(found.subset([]).obs) == 0


def test_pixels_take_a_byte_each(tmp_path: Path) -> None:
    keep_tokens(tmp_path / "kept", episodes((3, 16, 16)), about=ABOUT, visual=0)
    assert (tmp_path / "kept" / "obs").stat().st_size == 14 * 3 * 16 * 16


def test_observations_of_something_else_are_not_taken_for_these(tmp_path: Path) -> None:
    assert kept_tokens(tmp_path / "kept", about=ABOUT) is None
    keep_tokens(tmp_path / "kept", episodes(), about=ABOUT, visual=0)
    assert kept_tokens(tmp_path / "kept", about={"pipeline": "other"}) is None


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    keep_tokens(tmp_path / "kept", episodes(), about=ABOUT, visual=0)
    (tmp_path / "kept" / "obs").write_bytes((tmp_path / "kept" / "obs").read_bytes()[:-4])
    with pytest.raises(DataError, match="obs must be 840 bytes long, got 836: remove its folder"):
        kept_tokens(tmp_path / "kept", about=ABOUT)


def test_where_writing_fails_what_stood_there_stays(tmp_path: Path) -> None:
    keep_tokens(tmp_path / "kept", episodes(), about=ABOUT, visual=0)

    def broken() -> Iterator[Observed]:
        yield from episodes()
        yield from episodes((3, 6))

    with pytest.raises(DataError, match="must have one shape in all episodes"):
        keep_tokens(tmp_path / "kept", broken(), about=ABOUT, visual=0)
    with pytest.raises(DataError, match="at least 1 episode, got 0"):
        keep_tokens(tmp_path / "kept", iter(()), about=ABOUT, visual=0)
    found = kept_tokens(tmp_path / "kept", about=ABOUT)
    assert found is not None and same(found, [0, 1, 2], (3, 5))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
