"""What is timed is what it is said to be, and is held against the machine's own limit."""

import json
from pathlib import Path

import pytest
import torch

from worldrl.envs.rendering import close_shared_renderer
from worldrl.errors import ConfigError
from worldrl.recipes import bench
from worldrl.recipes.options import EnvOptions, WorldModelOptions
from worldrl.recipes.timing import rate as clock
from worldrl.recipes.timing.imagined import imagined, world
from worldrl.recipes.timing.learning import loading, training
from worldrl.recipes.timing.rate import Row, operations, rate, timed
from worldrl.recipes.timing.real import real, real_by_default
from worldrl.recipes.timing.report import lines

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
    text = bench.run(bench.Config(out=str(out)))
    figures = json.loads(out.read_text())
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
