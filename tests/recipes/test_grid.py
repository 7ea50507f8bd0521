"""The grid of an experiment: what is run, in which order, what is repeated, and what is told of failures."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from worldrl.recipes import records
from worldrl.recipes.jobs import Job, left
from worldrl.recipes.runner import Limits, failure, run_jobs
from worldrl.recipes.world4rl import gains, report, signs
from worldrl.recipes.world4rl.grid import (
    ABLATIONS,
    OURS,
    ROUNDS,
    Cell,
    cells,
    refine_options,
    settings_of,
    start_of,
    worlds_name,
)  # fmt: skip
from worldrl.recipes.world4rl.jobs import plan

SETTINGS: dict[str, Any] = dict.fromkeys(
    ("env_kwargs", "demonstrations", "rollouts", "drifting", "drift", "random", "beyond", "encoder", "objects",
     "pixels", "clone_steps", "price", "proprio", "sigma", "episodes", "world_model", "fit_steps", "batch_size",
     "own_fit_steps", "own_batch_size", "success_steps", "success_price", "push", "reach", "blur", "imagined_steps"),
    1,
) | {"tasks": ["soccer", "hammer"]}  # fmt: skip
LIMITS = Limits(workers=2, job_s=20.0, total_s=60.0)


def job(folder: Path, code: str, *after: Path) -> Job:
    return Job("data", folder, {"code": code}, 1.0, after=after)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs run the code in their options instead of a stage."""
    program = (
        "import json, pathlib, sys; spec = json.loads(pathlib.Path(sys.argv[-1]).read_text()); "
        "folder = pathlib.Path(spec['folder']); exec(spec['options']['code']); "
        "(folder / 'done.json').write_text(json.dumps({'options': spec['options'], 'seconds': 0.1}))"
    )
    real = sys.executable
    monkeypatch.setattr("worldrl.recipes.runner.COMMAND", [real, "-c", program])


def test_tier_one_is_four_methods_on_six_tasks_under_three_seeds() -> None:
    tasks = ["a", "b", "c", "d", "e", "f"]
    assert len(list(cells(tasks=tasks, seeds=[0, 1, 2], tier=1))) == 72
    assert len({cell.name for cell in cells(tasks=tasks, seeds=[0, 1, 2], tier=2)}) == 126


def test_tier_three_ablates_on_the_tasks_of_the_paper() -> None:
    found = {
        (c.task, c.ablation) for c in cells(tasks=["soccer", "door-lock"], seeds=[0], tier=3) if c.method == "ours"
    }
    assert found == {("soccer", "none"), *(("door-lock", name) for name in ABLATIONS)}


def test_rounds_begin_with_what_ours_begins_with() -> None:
    evolved, ours = (Cell(0, "soccer", method) for method in ("evolved", "ours"))
    assert evolved in cells(tasks=["soccer"], seeds=[0], tier=3)
    assert start_of(evolved) == start_of(ours) and settings_of(evolved) == settings_of(ours) | ROUNDS


def test_the_published_recipe_has_no_guard_and_keeps_the_last_policy() -> None:
    options = refine_options(Cell(0, "soccer", "world4rl"))
    assert options["anchor"] == 0.0 and options["guards"] == {"halt": False} and options["trust"]["last"]


def test_every_job_comes_after_what_it_needs_and_one_world_is_shared(tmp_path: Path) -> None:
    jobs = plan(tmp_path, list(cells(tasks=["soccer", "hammer"], seeds=[0], tier=1)), SETTINGS)
    places = {job.folder: i for i, job in enumerate(jobs)}
    assert [job.kind for job in jobs].count("world") == 3 and [job.kind for job in jobs].count("data") == 2
    assert all(places[needed] < places[job.folder] for job in jobs for needed in job.after)


def test_policies_of_a_task_and_seed_are_ranked_in_one_world(tmp_path: Path) -> None:
    both = [Cell(0, "soccer", "world4rl"), Cell(0, "soccer", "ours", "no_push")]
    jobs = {job.folder.name: job for job in plan(tmp_path, both, SETTINGS)}
    for one in both:
        worlds = [folder.name for folder in jobs[one.name].after if folder.parent.name == "worlds"]
        assert worlds == [worlds_name(one).removeprefix("worlds/"), "soccer"]


def test_only_what_an_option_concerns_is_another_job(tmp_path: Path) -> None:
    before, after = (
        {
            job.folder: job.options
            for job in plan(tmp_path, [Cell(0, "soccer", "ours")], SETTINGS | {"imagined_steps": n})
        }
        for n in (1, 2)
    )
    assert [folder.name for folder in before if before[folder] != after[folder]] == ["soccer-0-ours"]


def test_a_cell_made_under_other_settings_of_its_method_is_another_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings() -> dict[str, Any]:
        return {job.folder.name: job.options for job in plan(tmp_path, [Cell(0, "soccer", "ours")], SETTINGS)}

    before = settings()
    monkeypatch.setitem(OURS, "anchor", 0.5)
    after = settings()
    assert [name for name in before if before[name] != after[name]] == ["soccer-0-ours"]


def test_what_is_done_is_not_repeated_and_other_options_are(tmp_path: Path, scripted: None) -> None:
    count = "p = folder.parent / 'count'; p.write_text(str(int(p.read_text()) + 1) if p.exists() else '1')"
    one = job(tmp_path / "a", count)
    for _ in range(2):
        assert run_jobs([one], LIMITS, print) == []
    assert (tmp_path / "count").read_text() == "1"
    run_jobs([job(tmp_path / "a", count + " ")], LIMITS, print)
    assert (tmp_path / "count").read_text() == "2"


def test_a_failure_is_written_down_what_needs_it_waits_and_the_rest_goes_on(tmp_path: Path, scripted: None) -> None:
    bad, good = job(tmp_path / "bad", "raise ValueError('no ball')"), job(tmp_path / "good", "pass")
    told: list[str] = []
    failed = run_jobs([bad, job(tmp_path / "after", "pass", tmp_path / "bad"), good], LIMITS, told.append)
    assert failed == [bad] and good.is_done() and not (tmp_path / "after").exists()
    why = failure(tmp_path / "bad")
    assert why is not None and "no ball" in str(why["log"]) and any("no ball" in line for line in told)
    run_jobs([job(tmp_path / "bad", "pass")], LIMITS, print)
    assert failure(tmp_path / "bad") is None


def test_a_job_that_takes_too_long_is_stopped(tmp_path: Path, scripted: None) -> None:
    slow = job(tmp_path / "slow", "import time; time.sleep(60)")
    assert run_jobs([slow], Limits(1, 1.0, 60.0), print) == [slow]


def test_no_job_is_begun_after_time_is_up(tmp_path: Path, scripted: None) -> None:
    assert run_jobs([job(tmp_path / "a", "pass")], Limits(1, 1.0, -1.0), print) == []
    assert not (tmp_path / "a").exists()


def cell(task: str, method: str, outcomes: list[int], **more: Any) -> dict[str, Any]:
    share = sum(outcomes) / len(outcomes)
    return {
        "task": task, "seed": 0, "method": method, "ablation": "none", "masks": "simulator", "expert_success": 1.0,
        "bc_success": 0.5, "real_success": share, "imagined_success": 0.9, "episodes": len(outcomes),
        "real_steps": 10, "outcomes": outcomes, "false_success_rate": 0.1, "false_successes": 1, "replays": 10,
        "repeatable": 4, "repeatable_false": 1,
    } | more  # fmt: skip


def put(root: Path, figures: dict[str, Any], refinement: dict[str, Any] | None = None) -> None:
    folder = root / "cells" / Cell(figures["seed"], figures["task"], figures["method"], figures["ablation"]).name
    folder.mkdir(parents=True)
    own = {"imagined": figures["imagined_success"], "real": figures["real_success"], "episodes": figures["episodes"]}
    done = {"cell": figures, "seconds": 5.0, "ranking": [own], "refinement": refinement}
    (folder / "done.json").write_text(json.dumps(done))
    (folder / "job.json").write_text(json.dumps({"kind": "cell"}))


def written(root: Path, wanted: list[Cell], **more: Any) -> str:
    done = [one.name for one in wanted if (root / "cells" / one.name / "done.json").exists()]
    return report.write(root, wanted, root / "results", made_by="worldrl reproduce", **({"done": done} | more))


def test_the_report_tells_what_there_is_what_is_missing_and_what_failed(tmp_path: Path) -> None:
    wanted = [Cell(0, "soccer", method) for method in ("bc", "filtered_bc", "world4rl", "ours")]
    put(tmp_path, cell("soccer", "bc", [1, 0] * 50))
    put(tmp_path, cell("soccer", "filtered_bc", [1, 0] * 50))
    put(tmp_path, cell("soccer", "ours", [1] * 80 + [0] * 20))
    broken = tmp_path / "cells" / "soccer-0-world4rl"
    broken.mkdir()
    (broken / "failed.json").write_text(json.dumps({"log": ["it broke"]}))
    text = written(tmp_path, wanted)
    saved = json.loads((tmp_path / "results" / "world4rl.json").read_text())
    assert [one["method"] for one in saved["cells"]] == ["bc", "filtered_bc", "ours"]
    assert saved["cells"][2]["seconds"] == 5.0
    assert "failed: it broke" in text and "+30 [" in text and "masks: simulator" in text
    assert "3 of 4 cells are done" in text and "`worldrl reproduce`" in text
    assert "| 1 of 10 | 1 of 4 |" in text and "| 10 | 10 % of 10 | 25 % of 4 |" in text
    assert "0 are worse" in text and "up to 95 %" in text


def test_what_was_made_under_other_options_is_not_told(tmp_path: Path) -> None:
    wanted = [Cell(0, "soccer", method) for method in ("bc", "filtered_bc")]
    for one in wanted:
        put(tmp_path, cell("soccer", one.method, [1, 0] * 50))
    text = written(tmp_path, wanted, done=[wanted[0].name])
    assert "1 of 2 cells are done" in text and "| soccer | 0 | filtered_bc | none | not run yet |" in text


def test_an_ablation_is_held_against_ours_as_it_is(tmp_path: Path) -> None:
    wanted = [Cell(seed, "door-lock", method) for seed in range(3) for method in ("bc", "filtered_bc", "ours")]
    wanted += [Cell(seed, "door-lock", "ours", "keep_last") for seed in range(3)]
    wanted.append(Cell(0, "door-lock", "ours", "no_halt"))
    successes = {"bc": 60, "filtered_bc": 70, "none": 80, "keep_last": 50, "no_halt": 50}
    for one in wanted:
        wins = successes[one.ablation if one.method == "ours" else one.method]
        outcomes = [1] * wins + [0] * (100 - wins)
        put(tmp_path, cell("door-lock", one.method, outcomes, seed=one.seed, ablation=one.ablation))
    text = written(tmp_path, wanted)
    whole = next(line for line in text.splitlines() if line.startswith("| ours | 3 |")).split(" | ")
    assert whole[5] == "-" and whole[3].startswith("+20.0 [")
    assert re.search(r"\| keep_last \| 3 \| 50 \| -30.0 \[.*\] \| worse \|", text)
    assert re.search(r"\| no_halt \| 1 \| 50 \| -30.0 \[.*\] \| too few cells \|", text)


def test_policies_that_a_switch_which_never_acted_made_again_count_once(tmp_path: Path) -> None:
    wanted = [Cell(0, "door-lock", method) for method in ("bc", "filtered_bc")]
    wanted += [Cell(0, "door-lock", "ours", name) for name in ("none", "no_radius", "no_anchor")]
    for one, divergence in zip(wanted, (None, None, 0.2, 0.2, 0.9), strict=True):
        way = [{"steps": 0, "success": 0.5, "length": 9.0, "divergence": divergence, "halted": 0.0, "agreed": 1.0}]
        made = {"candidates": way, "checkpoints": [], "pace": 9.0} if divergence else None
        put(tmp_path, cell("door-lock", one.method, [1, 0], ablation=one.ablation), made)
    text = written(tmp_path, wanted)
    ranked = text.partition("rank policies")[2]
    assert "| door-lock | 4 |" in ranked and "5 of 5 cells are done" in text
    assert "| no_radius | 1 | 50 | +0.0 [+0.0, +0.0] | the same runs: it never acted |" in text


def test_a_cell_is_flagged_when_it_is_worse_beyond_doubt() -> None:
    base = cell("soccer", "bc", [1] * 60 + [0] * 40)
    worse, alike = cell("soccer", "ours", [1] * 40 + [0] * 60), cell("soccer", "ours", [1] * 57 + [0] * 43)
    assert gains.is_worse(worse, [base]) and not gains.is_worse(alike, [base])


def test_a_sign_that_grows_as_real_success_falls_is_found() -> None:
    start = {"steps": 0, "success": 0.5, "length": 30.0, "divergence": 0.0, "halted": 0.0, "agreed": 1.0}
    on_the_way = [start | {"steps": n, "success": 0.9, "length": 30.0 - n, "divergence": n / 10} for n in range(1, 8)]
    made = {
        "candidates": [start, *on_the_way], "pace": 30.0,
        "checkpoints": [f"policy-at-{one['steps']}" for one in on_the_way],
    }  # fmt: skip
    ranking = [{"real": 0.5 - 0.05 * n, "imagined": 0.9} for n in (9, *range(1, 8))]  # the kept policy comes first
    found = signs.gather({"refinement": made, "ranking": ranking}, 0.5)
    assert found[0]["change"] == pytest.approx(-0.05) and found[0]["haste"] == pytest.approx(1 / 30)
    told = {line[0]: line[1] for line in signs.rows(found)}
    assert told[signs.SIGNS["haste"]] == told[signs.SIGNS["divergence"]] == "-1.00"
    assert told[signs.SIGNS["gain"]] == "-"


def test_an_ablation_changes_one_thing_and_leaves_the_rest() -> None:
    whole, part = (refine_options(Cell(0, "door-lock", "ours", name)) for name in ("none", "constant_anchor"))
    assert part == whole | {"trust": whole["trust"] | {"tighten": 1.0}}
    assert start_of(Cell(0, "door-lock", "ours")) == Cell(0, "door-lock", "filtered_bc")
    assert start_of(Cell(0, "door-lock", "ours", "from_bc")) == Cell(0, "door-lock", "bc")


def test_a_recorded_cell_is_not_run_again_but_what_another_builds_on_is(tmp_path: Path) -> None:
    root, results = tmp_path / "runs", tmp_path / "results"
    jobs = plan(root, list(cells(tasks=["soccer"], seeds=[0], tier=1)), SETTINGS | {"tasks": ["soccer"]})
    ended = [job for job in jobs if job.folder.name in ("soccer-0-bc", "soccer-0-filtered_bc", "soccer-0-ours")]
    for job in ended:
        job.folder.mkdir(parents=True)
        (job.folder / "done.json").write_text(json.dumps({"options": job.options, "seconds": 5.0}))
    records.keep(root, results / "world4rl", [job.folder.name for job in jobs])
    assert [job.folder.name for job in ended if job.is_whole()] == [job.folder.name for job in ended]
    shutil.rmtree(root)
    records.restore(root, results / "world4rl")
    assert all(job.is_done() and not job.is_whole() for job in ended)
    ahead = [job.folder.name for job in left(jobs)]
    assert ahead[-1] == "soccer-0-world4rl" and "soccer-0-ours" not in ahead and "soccer-0-filtered_bc" not in ahead
    assert "soccer-0-bc" in ahead and ahead[0] == "soccer"  # what the missing cell needs, down to the data
    wanted = list(cells(tasks=["soccer"], seeds=[0], tier=1))
    other = plan(root, wanted, SETTINGS | {"tasks": ["soccer"], "imagined_steps": 2})
    assert "soccer-0-ours" in [job.folder.name for job in left(other)]
