"""What is timed is what it is said to be, and is held against the machine's own limit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from worldrl.envs.rendering import close_shared_renderer
from worldrl.errors import ConfigError
from worldrl.recipes import bench
from worldrl.recipes.options import EnvOptions, WorldModelOptions
from worldrl.recipes.results import figures_of
from worldrl.recipes.timing import equal
from worldrl.recipes.timing import rate as clock
from worldrl.recipes.timing.data import kept
from worldrl.recipes.timing.imagined import imagined, world
from worldrl.recipes.timing.learning import loading, training
from worldrl.recipes.timing.rate import Row, operations, rate, timed
from worldrl.recipes.timing.real import real, real_by_default
from worldrl.recipes.timing.report import growth, lines

TINY = WorldModelOptions(size="tiny")


def row(group: str, name: str, speed: float, *, batch: int = 1, steps: int | None = None) -> Row:
    return Row(group, name, speed, "steps", batch, steps, share=0.4)


ROWS = [
    row("imagined tokens", "default (x)", 5000.0, batch=256, steps=1),
    row("imagined tokens", "default (x)", 2400.0, batch=256, steps=3),
    row("imagined tokens", "default (x)", 900.0, batch=16, steps=3),
    row("imagined frames", "default (small)", 80.0, batch=8, steps=1),
    row("imagined frames", "published", 4.0, batch=8, steps=3),
    row("real environment", "drawer at 64 px, fast drawing", 100.0),
    row("real environment", "drawer at 64 px, drawn by MuJoCo's defaults", 10.0),
]


def test_a_bad_moment_does_not_change_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    took = iter([0.1, 0.1, 3.0, 0.1, 0.1])  # the first two are not counted
    now = [0.0]

    def call() -> None:
        now[0] += next(took)

    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])
    assert rate(call, 0.0) == pytest.approx(10.0)


def test_operations_are_counted_and_held_against_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = torch.randn(30, 40), torch.randn(40, 50)
    assert operations(lambda: one @ other) == 2 * 30 * 40 * 50
    monkeypatch.setattr(clock, "matrix_limit", lambda: 2.0)
    monkeypatch.setattr(clock, "rate", lambda call, seconds: 1000.0)
    found = timed(lambda: one @ other, group="g", name="n", unit="rows", seconds=0.0, batch=30)
    assert (found.rate, found.mflop) == (30_000.0, pytest.approx(0.004))
    assert found.share == pytest.approx(1000.0 * 2 * 30 * 40 * 50 / 1e9 / 2.0)


def test_the_summary_says_what_the_rows_say_and_nothing_where_they_do_not() -> None:
    assert bench.summarise(ROWS, batch=256) == {
        "token_steps_per_s_3": 2400.0, "token_steps_per_s_1": 5000.0, "ceiling_share": 0.4,
        "pixel_vs_reference": 20.0, "imagined_vs_real_default": 500.0, "imagined_vs_real_fast": 50.0,
    }  # fmt: skip
    assert set(bench.summarise([], batch=256).values()) == {None}


def test_a_line_is_drawn_for_each_model_and_number_of_steps() -> None:
    assert lines(ROWS, ("imagined tokens",)) == {"default (x), 3 steps": [(4.0, 0.4), (8.0, 0.4)]}


def test_imagination_training_and_loading_are_timed_with_what_they_cost() -> None:
    found = imagined(world((3, 5), TINY), group="g", name="n", batch=4, seconds=0.0)
    assert found.rate > 0 and found.steps == 1 and found.parameters and found.mflop and found.share
    learnt = training(world((3, 5), TINY), group="g", name="n", batch=4, seconds=0.0)
    assert learnt.parameters == found.parameters and learnt.mflop and learnt.mflop > found.mflop / 10
    assert loading((3, 5), 100, batch=4, history=2, seconds=0.0).mflop is None


def test_real_environments_are_timed_as_we_draw_and_as_mujoco_draws() -> None:
    kwargs = {"size": 16}
    fast, *_ = real("worldrl/Reach-v0", kwargs, seconds=0.0)
    default = real_by_default("worldrl/Reach-v0", kwargs, seconds=0.0)
    close_shared_renderer()
    assert fast.rate > 0 and default.rate > 0 and "MuJoCo's defaults" in default.name
    with pytest.raises(ConfigError, match=r"nosuch could not be drawn with MuJoCo's defaults: .*no environment is"):
        real_by_default("nosuch", kwargs, seconds=0.0)


def test_the_command_writes_figures_table_and_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_all", lambda config: iter(ROWS))
    out = tmp_path / "bench.json"
    result = bench.run(bench.Config(out=str(out)))
    text, figures = result.text, json.loads(out.read_text())
    assert figures_of(result) == {"out": str(out)} | figures
    assert figures["summary"]["token_steps_per_s_3"] == 2400.0 and len(figures["rows"]) == len(ROWS)
    assert figures["summary"]["machine"]["matrix product, GFLOP/s"] > 0
    assert text == out.with_suffix(".md").read_text() and "| token_steps_per_s_1 | 5,000 |" in text
    assert "default (x), 3 steps" in out.with_suffix(".svg").read_text()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"out": "bench.txt"}, "out must be a file that ends in .json, got 'bench.txt'"), ({"seconds": 0.0}, "seconds")],
)
def test_bad_options_are_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        bench.Config(**changes).check()  # type: ignore[arg-type]


def test_what_mujoco_does_not_draw_is_refused() -> None:
    pytest.importorskip("minatar")
    options = EnvOptions("worldrl/MinAtar-v0", {"size": 64})
    with pytest.raises(ConfigError, match="env must be a task that MuJoCo draws, got 'worldrl/MinAtar-v0'"):
        real(options.id, dict(options.kwargs), seconds=0.0)


def test_time_and_memory_are_drawn_against_what_grows() -> None:
    def of(count: str, speed: float, memory: float) -> Row:
        return Row("data in files", f"windows, {count} transitions in files", speed, "windows", 256, memory_mb=memory)

    rows = [of("10,000", 1e5, 300.0), of("1,000,000", 5e4, 310.0)]
    rows += [
        Row("training", f"tokens, {size}", speed, "samples", 256, parameters=count, memory_mb=500.0)
        for size, speed, count in (("tiny", 2e4, 10_000), ("small", 1e4, 100_000))
    ]
    found = growth(rows, batch=256)
    assert found["data-time"][0] == {"windows": [(4.0, 10.0), (6.0, 20.0)]}
    assert found["data-memory"][0] == {"windows": [(4.0, 300.0), (6.0, 310.0)]}
    assert found["model-time"][0] == {"tokens": [(4.0, 50.0), (5.0, 100.0)]}
    assert growth([], batch=256) == {}


@pytest.mark.slow
def test_learning_from_files_takes_no_more_memory_where_there_is_more_of_it() -> None:
    few, many = (kept((6, 42), count, seconds=0.05) for count in (12_000, 80_000))
    assert [row.name.split(",")[0] for row in many] == ["windows", "fit_dynamics"]
    memory = [row.memory_mb or 0.0 for row in (*few, *many)]
    assert min(memory) > 0.0
    assert max(memory[2] - memory[0], memory[3] - memory[1]) < 35.0  # in memory they would take 70 MB more


def test_frame_models_are_compared_over_seeds_and_held_against_each_other() -> None:
    def cell(name: str, seed: int, psnr: float, st_lpips: float, speed: float) -> dict[str, Any]:
        return {
            "name": name, "seed": seed, "parameters": 9, "batch": 8, "processor_s": 60.0, "gradient_steps": 7,
            "rate": speed, "segments": 4, "imagined_psnr": psnr, "imagined_st_lpips": st_lpips, "held_psnr": 19.0,
            "held_st_lpips": 0.1,
        }  # fmt: skip

    ours, *others = (one.name for one in equal.CONTENDERS)
    cells = [cell(ours, 0, 25.0, 0.02, 90.0), cell(ours, 1, 27.0, 0.04, 90.0)]
    cells += [cell(name, 0, 20.0 + i, 0.5, 5.0) for i, name in enumerate(others)]
    about = {"task": "t", "frames": [3, 64, 64], "steps": 100, "minutes": 1.0, "held_out": 3}
    told = {"about": about, "cells": {str(i): one for i, one in enumerate(cells)}, "command": "worldrl bench"}
    assert equal.summary(told) == {
        "pixel_trained_rate_ratio": 18.0,
        "pixel_trained_psnr_gain": 5.0,
        "pixel_trained_st_lpips_gain": pytest.approx(0.47),
    }
    assert "| 26.00 (1.41) | 0.0300 (0.0141) |" in equal.table(told)
    assert equal.summary({"cells": {}}) == {}
