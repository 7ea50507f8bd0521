"""A training that was stopped ends as one that was not, to the last bit."""

import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from worldrl import checkpoint, signals
from worldrl.curves import Curves
from worldrl.errors import CheckpointError, ConfigError
from worldrl.resuming import Parts, Stops, leaves, require_same, run_steps


def train(stops: Stops | None = None, *, die: int = 0, ask: int = 0, seen: list[int] | None = None, lr: float = 1e-2,
          steps: int = 20) -> tuple[str, float]:  # fmt: skip
    """Return a hash of the weights and the mean loss; die before a step, or be asked to stop in one."""
    torch.manual_seed(0)
    net, rng = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def take(step: int) -> float:
        if seen is not None:
            seen.append(step)
        if die and step == die:
            raise RuntimeError("killed")
        if ask and step == ask:
            signal.raise_signal(signal.SIGTERM)
        x = torch.randn(8, 3, generator=rng)
        loss = (net(x) - x.sum(dim=1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.item()

    parts = Parts({"net": net}, {"optimizer": optimizer}, {"schedule": schedule}, {"rows": rng})

    def progress(step: int, loss: float) -> None:
        if stops is not None:
            stops.curves.add("loss", step, loss)

    about = {"lr": lr, "inner": {"seed": 1}}
    mean = run_steps(take, steps=steps, parts=parts, stops=stops, about=about, progress=progress)
    return checkpoint.hash_tensors(net.state_dict()), mean


def test_the_loss_of_few_steps_is_that_of_the_last() -> None:
    losses = list[float]()
    mean = run_steps(lambda step: float(step), steps=3, parts=Parts({}), progress=lambda _, loss: losses.append(loss))
    assert mean == losses[-1] == 2.0


@pytest.mark.fault(15)
@pytest.mark.parametrize("die", [3, 8, 19])
def test_a_training_that_died_ends_as_if_it_had_not(tmp_path: Path, die: int) -> None:
    """Fault 15: interrupted at a step, resumed, and compared with an uninterrupted one."""
    told, seen = list[str](), list[int]()
    stops = Stops(tmp_path / "kept", 4, told.append)
    with pytest.raises(RuntimeError, match="killed"):
        train(stops, die=die)
    assert train(stops, seen=seen) == train()
    first = die // 4 * 4
    assert seen == list(range(first, 20))
    assert told == ([f"found kept, goes on after step {first} of 20"] if first else [])
    assert train(stops, seen=seen) == train() and seen[-1] == 19 and len(seen) == 20 - first


@pytest.mark.fault(15)
@pytest.mark.parametrize("die", [3, 8, 19])
def test_the_curve_of_a_training_that_died_is_that_of_one_that_did_not(tmp_path: Path, die: int) -> None:
    """Fault 15: what was told before the stop is there again, and nothing is told twice."""
    whole, stops = Stops(tmp_path / "whole", 100), Stops(tmp_path / "kept", 4)
    train(whole)
    with pytest.raises(RuntimeError, match="killed"):
        train(stops, die=die)
    again = Stops(tmp_path / "kept", 4, curves=Curves())  # of another process
    train(again)
    assert again.curves.points == whole.curves.points and len(whole.curves.points["loss"]) == 20
    done = Stops(tmp_path / "kept", 4)  # nothing is left to do, the curve is whole
    train(done)
    assert done.curves.points == whole.curves.points


@pytest.mark.fault(57)
def test_a_signal_is_granted_after_the_step_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    """Fault 57: SIGTERM in the middle of a gradient step."""
    stops, seen = Stops(tmp_path / "kept", 100), list[int]()
    with pytest.raises(signals.Stopped), signals.listen():
        train(stops, ask=6)
    assert train(stops, seen=seen) == train() and seen == list(range(7, 20))


@pytest.mark.fault(16)
def test_other_options_are_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    """Fault 16: going on with another learning rate, or for longer."""
    stops = Stops(tmp_path / "kept", 4)
    with pytest.raises(RuntimeError, match="killed"):
        train(stops, die=9)
    with pytest.raises(ConfigError, match=r"lr must be 0\.01 to go on with .*kept, got 0\.1: begin anew"):
        train(stops, lr=0.1)
    with pytest.raises(ConfigError, match=r"steps must be 20 to go on with .*, got 30"):
        train(stops, steps=30)


def test_what_was_kept_and_is_damaged_says_how_to_begin_anew(tmp_path: Path) -> None:
    stops = Stops(tmp_path / "kept", 4)
    train(stops)
    (tmp_path / "kept/weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"does not match its manifest.*; remove .*kept to begin anew"):
        train(stops)


def test_free_options_may_differ_and_are_told() -> None:
    was: dict[str, Any] = {"threads": 1, "fit": {"threads": 2, "steps": [1, 2]}, "none": []}
    now = {"threads": 4, "fit": {"threads": 2, "steps": (1, 2)}, "none": []}
    assert require_same(was, now, folder=Path("run"), free=("threads",)) == ["threads is 4, was 1"]
    with pytest.raises(ConfigError, match=r"fit\.steps\.1 must be 2 to go on with run, got 3"):
        require_same(was, {**now, "fit": {"threads": 2, "steps": [1, 3]}}, folder=Path("run"), free=("threads",))
    with pytest.raises(ConfigError, match="new must be nothing to go on with run, got 5"):
        require_same(was, {**now, "new": 5}, folder=Path("run"), free=("threads",))
    assert leaves({"a": {"b": [1, {"c": None}]}, "d": {}}) == {"a.b.0": 1, "a.b.1.c": None, "d": {}}


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_resuming import Stops, train
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def fill(told):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))

from worldrl import resuming
from worldrl.errors import StorageError
keep, calls = resuming.keep, []

def filling(*args):
    calls.append(args)
    if len(calls) == 3:
        fill(args)
    keep(*args)

resuming.keep = filling
try:
    train(Stops(Path(sys.argv[1]), 4))
except StorageError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.fault(6)
def test_a_full_disk_leaves_what_was_kept_and_freed_space_gives_the_same(tmp_path: Path) -> None:
    """Fault 6 while going on: the disk is full at the third time that a training is kept."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    command = [sys.executable, "-c", FULL, str(tmp_path / "kept"), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 8 and "cannot be written" in done.stdout, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    seen = list[int]()
    assert train(Stops(tmp_path / "kept", 4), seen=seen) == train() and seen == list(range(8, 20))


ENDLESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
from test_resuming import ABOUT, Parts, Stops, run_steps

net = torch.nn.Linear(700, 700)

def take(step):
    with torch.no_grad():
        net.weight.fill_(step + 1.0)
    print(step, flush=True)
    return float(step)

run_steps(take, steps=10**6, parts=Parts({"net": net}), stops=Stops(Path(sys.argv[1]), 1), about=ABOUT)
"""
ABOUT = {"kind": "endless"}


@pytest.mark.fault(4)
@pytest.mark.fault(5)
@pytest.mark.slow
def test_a_process_that_is_killed_while_it_keeps_leaves_a_whole_state(tmp_path: Path) -> None:
    """Faults 4 and 5: kill -9 at random moments of keeping, again and again in one folder."""
    rng, last = random.Random(0), 0
    for _ in range(6):
        command = [sys.executable, "-c", ENDLESS, str(tmp_path / "kept"), str(Path(__file__).parent)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            for _ in range(3):
                process.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.2))
        finally:
            process.kill()
            process.communicate(timeout=60)
        kept = checkpoint.load(tmp_path / "kept", kind="training")
        step = kept.config["step"]
        assert step > last and bool((kept.tensors["net.weight"] == step).all())
        last = step
    assert sum(path.name.startswith(".tmp-") for path in tmp_path.iterdir()) <= 1  # that of the last one
