"""A moment that was read from a file, and so cannot be written to, can be restored."""

from typing import Any

import numpy as np
import pytest

from worldrl.envs.push import PushEnv


def frozen(array: Any) -> Any:
    copy = array.copy()
    copy.setflags(write=False)
    return copy


def check(env: Any) -> None:
    """Restore a read-only moment after the episode went on, and compare what is seen."""
    env.reset(seed=0)
    act = np.full(env.action_space.shape, 0.5, np.float32)
    before = env.step(act)[0]
    state, params = frozen(env.state()), env.params()
    fields = {name: frozen(value) for name, value in env.fields().items()}
    env.step(act)
    after = env.restore(state, fields, params)
    np.testing.assert_array_equal(after["proprio"], before["proprio"])
    np.testing.assert_array_equal(after["image"], before["image"])
    np.testing.assert_array_equal(env.state(), state)


def test_a_read_only_state_of_the_table_top_is_restored() -> None:
    check(PushEnv(size=32))


def test_a_read_only_state_of_meta_world_is_restored() -> None:
    pytest.importorskip("metaworld")
    from worldrl.envs.metaworld import MetaWorldEnv

    check(MetaWorldEnv("reach", size=32))
