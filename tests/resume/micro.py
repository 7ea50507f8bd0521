"""A whole run of the demo in seconds, how it is killed, and what of it may not depend on that."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

OPTIONS = [
    "env.id=worldrl/Reach-v0", "env.kwargs.size=28", "env.kwargs.max_steps=20", "encoder=none", "world_model.size=tiny",
    "demonstrations=8", "random=4", "rollouts=27", "clone_steps=100", "fit_steps=45", "success_steps=45",
    "decoder_steps=30", "imagined_steps=30000", "slack=1.0", "episodes=6", "videos=1", "keep_every=15", "threads=1",
]  # fmt: skip
STAGES = ("start", "collect", "encode", "clone", "collect_policy", "fit", "refine", "evaluate", "record")
START_S = 6.0
"""Seconds that importing and loading take, about."""
PATIENCE_S = 240.0


@dataclass(frozen=True)
class Kill:
    """One stop of a run: in which stage, by which signal, how long after it began, and the exit code."""

    stage: str
    signal: str
    after_s: float
    exit: int


def command(out: Path, *more: str) -> list[str]:
    """Return what begins a run, or goes on with it."""
    return [sys.executable, "-m", "worldrl.cli", "demo", f"out={out}", *OPTIONS, *more]


def begin(out: Path, *more: str) -> subprocess.Popen[str]:
    """Begin a run or go on with it; SIGINT is heard even where whoever tests ignores it, as behind ``nohup``."""
    return subprocess.Popen(
        command(out, *more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=hear
    )


def hear() -> None:
    """Let a process begin with signals as they are by default."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def finish(out: Path, *more: str) -> str:
    """Run to the end and return what was told."""
    done = subprocess.run(command(out, *more), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ledger(out: Path) -> dict[str, Any]:
    """Return which stages are done and what they cost."""
    file = out / "stages.json"
    return dict(json.loads(file.read_text())) if file.exists() else {"done": [], "seconds": {}}


def at_work(out: Path, since: int) -> str:
    """Return the stage that a run is at; ``start`` until it has written to its ledger, which was last of ``since``."""
    if stamp(out) == since:
        return "start"
    told = ledger(out)
    return next((name for name in told["seconds"] if name not in told["done"]), list(told["seconds"])[-1])


def stamp(out: Path) -> int:
    """Return when the ledger was written, in nanoseconds."""
    file = out / "stages.json"
    return file.stat().st_mtime_ns if file.exists() else 0


def kill(out: Path, lasts: dict[str, float], rng: random.Random) -> Kill | None:
    """Begin a run or go on with it, and kill it at a random moment of one of its next stages; None where it ended.

    Args:
        out: The run folder.
        lasts: Seconds of each stage of a run that nobody killed.
        rng: Draws the stage, the moment and the signal: one in four is SIGINT or SIGTERM, the others SIGKILL.
    """
    left = [name for name in STAGES[1:] if name not in ledger(out)["done"]][:2]
    stage = rng.choice([*left * 3, "start"])
    number = rng.choice([signal.SIGKILL] * 6 + [signal.SIGINT, signal.SIGTERM])
    after = rng.uniform(0.0, START_S if stage == "start" else lasts[stage])
    since, process, began = stamp(out), begin(out), time.monotonic()
    try:
        while stage not in (at_work(out, since), "start", *ledger(out)["done"]) and process.poll() is None:
            time.sleep(0.02)
            assert time.monotonic() - began < PATIENCE_S
        time.sleep(after)
        met = at_work(out, since)
        process.send_signal(number)
        told, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode == 0:
        return None
    expected = {-signal.SIGKILL} if number is signal.SIGKILL else {128 + number}
    early = {-number, 1} if met == "start" else set[int]()  # nobody listens yet
    assert process.returncode in expected | early, told
    return Kill(met, signal.Signals(number).name, round(after, 2), process.returncode)


def append(file: Path, row: dict[str, Any]) -> None:
    """Add a line to a record, at once on the disk."""
    with file.open("a") as stream:
        stream.write(json.dumps(row) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def results(out: Path) -> dict[str, Any]:
    """Return what must be equal however often a run was stopped: figures, weights, episodes and pictures."""
    summary = json.loads((out / "summary.json").read_text())
    for cost in ("seconds_total", "seconds_by_stage", "peak_memory_gb"):
        del summary[cost]
    files = [file for file in sorted(out.rglob("*")) if file.is_file() and file.name != ".lock"]
    hidden = [str(file.relative_to(out)) for file in files if any(part.startswith(".") for part in file.parts)]
    told = [str(file.relative_to(out)) for file in files if file.name != "stages.json"]
    sums = {
        str(file.relative_to(out)): sum_of(file)
        for file in files
        if file.suffix in (".safetensors", ".npy", ".npz", ".png")
        or file.name in ("refinement.json", "fidelity.json", "evaluation.json", "episodes.json")
        or file.name.endswith(".curves.json")
    }
    return {"summary": summary, "files": told, "left over": hidden, "sums": sums}


def sum_of(file: Path) -> str:
    """Return a hash of what a file holds; a zip of arrays holds dates too, and a report the name of its folder."""
    digest = hashlib.sha256()
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            for name in sorted(arrays):
                digest.update(name.encode() + arrays[name].tobytes())
    else:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def apart(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the names of what differs."""
    names = [f"{part}.{key}" for part in ("summary", "sums") for key in found[part] | wanted[part]
             if found[part].get(key) != wanted[part].get(key)]  # fmt: skip
    return names + [part for part in ("files", "left over") if found[part] != wanted[part]]


def table(kills: list[dict[str, Any]], runs: list[dict[str, Any]], made_by: str) -> str:
    """Return the record as markdown: kills by stage, and what became of the runs."""
    rows = []
    for stage in STAGES:
        here = [one for one in kills if one["stage"] == stage]
        equal = sum(runs[one["run"]]["equal"] for one in here)
        by = {name: sum(one["signal"] == name for one in here) for name in ("SIGKILL", "SIGTERM", "SIGINT")}
        rows.append(f"| {stage} | {len(here)} | {' | '.join(map(str, by.values()))} | {equal} of {len(here)} |")
    wins = sum(run["equal"] for run in runs)
    return "\n".join(
        [
            "# Kills",
            "",
            f"A run of `worldrl demo` was begun, killed, gone on with, killed again and so on, until it was finished: "
            f"{len(kills)} kills at random moments of stages drawn at random, in {len(runs)} runs. Of these "
            f"{wins} ended with the same figures, the same weights (bytes), the same episodes in the same shards and "
            "the same pictures as a run that nobody killed, and left nothing else behind.",
            "",
            "| killed in | kills | SIGKILL | SIGTERM | SIGINT | run ended equal |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"Made by `{made_by}`.",
            "",
        ]
    )


def as_row(kill: Kill, run: int) -> dict[str, Any]:
    """Return a kill as a line of the record."""
    return asdict(kill) | {"run": run}
