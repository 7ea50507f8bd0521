"""Baselines whose learning was stopped end as those whose was not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import chain

from worldrl import checkpoint
from worldrl.agents.diffusion_cloning import Windows, clone_chunks
from worldrl.agents.diffusion_policy import DiffusionPolicy
from worldrl.agents.iql import Iql
from worldrl.agents.policy import make_policy
from worldrl.agents.td3_bc import Td3Bc
from worldrl.agents.transitions import learn
from worldrl.resuming import Stops

Say = Callable[[int, float], None]


def by_td3(stops: Stops | None, say: Say) -> tuple[Any, float]:
    policy = make_policy((2, 4), 1)
    return policy, learn(Td3Bc(policy), chain(), steps=9, batch_size=8, stops=stops, progress=say)


def by_iql(stops: Stops | None, say: Say) -> tuple[Any, float]:
    policy = make_policy((2, 4), 1)
    return policy, learn(Iql(policy), chain(), steps=9, batch_size=8, stops=stops, progress=say)


def by_diffusion(stops: Stops | None, say: Say) -> tuple[Any, float]:
    policy = DiffusionPolicy((2, 4), 1)
    experience = chain()
    obs, acts = [experience.seen[:4].numpy()], [experience.acts[:3].numpy()]
    windows = Windows.of(obs, acts, past=policy.past, horizon=policy.horizon)
    return policy, clone_chunks(policy, windows, steps=9, batch_size=4, stops=stops, progress=say)


@pytest.mark.fault(15)
@pytest.mark.parametrize("learnt", [by_td3, by_iql, by_diffusion])
def test_an_interrupted_baseline_is_the_same(learnt: Callable[..., tuple[Any, float]], tmp_path: Path) -> None:
    """Fault 15: killed after step 6 of 9, gone on with from step 5."""

    def run(stops: Stops | None, die: int = 0) -> tuple[str, float, list[int]]:
        heard = list[int]()

        def say(step: int, loss: float) -> None:
            heard.append(step)
            if step == die:
                raise RuntimeError("killed")

        torch.manual_seed(0)
        policy, loss = learnt(stops, say)
        return checkpoint.hash_tensors(policy.state_dict()), loss, heard

    stops = Stops(tmp_path / "kept", 5)
    with pytest.raises(RuntimeError, match="killed"):
        run(stops, die=6)
    torch.rand(3)
    found, wanted = run(stops), run(None)
    assert found[:2] == wanted[:2] and found[2] == [6, 7, 8, 9]
