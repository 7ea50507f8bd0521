"""Runs that are killed at random and go on end as if nobody had killed them.

The record in docs/results/kills.md is made by ``KILLS=100 KILLS_SEED=7 KILLS_TABLE=docs/results/kills.md pytest -m
fault tests/resume/test_kills.py``; with ``KILLS_FOLDER`` it goes on itself where it was stopped, and ``KILLS_SEED``
draws other moments.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import micro
import pytest

KILLS = int(os.environ.get("KILLS", "3"))
A_RUN = 10
"""Kills of one run, at most."""


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.fault(4)
@pytest.mark.fault(15)
@pytest.mark.fault(57)
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_runs_that_are_killed_anywhere_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    """Faults 4, 15 and 57: kill -9, SIGINT and SIGTERM at random moments of all stages, again and again."""
    at = Path(os.environ.get("KILLS_FOLDER") or tmp_path)
    at.mkdir(parents=True, exist_ok=True)
    if not (at / "unbroken/summary.json").exists():
        micro.finish(at / "unbroken")
    wanted, lasts = micro.results(at / "unbroken"), micro.ledger(at / "unbroken")["seconds"]
    while sum(run["kills"] for run in lines(at / "runs.jsonl")) < KILLS:
        left = KILLS - sum(run["kills"] for run in lines(at / "runs.jsonl"))
        run_once(at, number=len(lines(at / "runs.jsonl")), most=min(A_RUN, left), wanted=wanted, lasts=lasts)
    runs, kills = lines(at / "runs.jsonl"), lines(at / "kills.jsonl")
    table = micro.table(kills, runs, f"KILLS={KILLS} KILLS_TABLE=docs/results/kills.md pytest -m fault tests/resume")
    Path(os.environ.get("KILLS_TABLE") or at / "kills.md").write_text(table)
    assert [run["apart"] for run in runs if not run["equal"]] == []


def run_once(at: Path, *, number: int, most: int, wanted: dict[str, Any], lasts: dict[str, float]) -> None:
    """Kill one run up to so many times, let it end, and record whether it is what it should be."""
    out = at / f"run-{number}"
    done = [kill for kill in lines(at / "kills.jsonl") if kill["run"] == number]
    rng = random.Random(f"{os.environ.get('KILLS_SEED', '0')} {number} {len(done)}")
    while len(done) < most and not (out / "summary.json").exists():
        kill = micro.kill(out, lasts, rng)
        if kill is None:
            break
        done.append(micro.as_row(kill, number))
        micro.append(at / "kills.jsonl", done[-1])
    micro.finish(out)
    apart = micro.apart(micro.results(out), wanted)
    micro.append(at / "runs.jsonl", {"kills": len(done), "equal": not apart, "apart": apart})
