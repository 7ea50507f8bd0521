"""Every kind of run has a page that shows what it has, or one sentence says what to do."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from worldrl.errors import ConfigError
from worldrl.recipes import clone, collect, encode, fit, report
from worldrl.recipes.options import EncoderOptions, EnvOptions, WorldModelOptions
from worldrl.recipes.reporting.places import find

TASKS = ("CloseDrawer", "OpenDrawer")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks in one world, and a policy of the first."""
    run = tmp_path_factory.mktemp("runs") / "two"
    for task in TASKS:
        episodes, env = str(run / "episodes" / task), EnvOptions(f"worldrl/{task}-v0", {"size": 28, "max_steps": 40})
        collect.run(collect.Config(env=env, out=episodes, policy="noisy_expert", episodes=4))
        seen = encode.Config(
            episodes=episodes, out=str(run / "observation" / task), encoder=EncoderOptions(name="none")
        )
        encode.run(seen)
    at = {name: str(run / name) for name in ("episodes", "observation")}
    small = WorldModelOptions(size="tiny")
    fit.run(fit.Config(**at, out=str(run / "world"), world_model=small, steps=4, success_steps=4, decoder_steps=0))
    first = {name: str(Path(folder) / TASKS[0]) for name, folder in at.items()}
    clone.run(clone.Config(**first, out=str(run / "clone"), steps=4))
    return run


def page_of(run: Path, **options: Any) -> tuple[str, list[str]]:
    """Return the text of a page and the names of its sections."""
    report.run(report.Config(run=str(run), **options))
    text = unescape((run / "report.html").read_text())
    return text, re.findall(r'<section id="([\w-]+)"', text)


def test_several_tasks_in_one_world_are_measured_one_by_one(tasks: Path) -> None:
    text, names = page_of(tasks)
    assert names == [
        "learning", *(f"fidelity-{task}" for task in TASKS), *(f"hallucinations-{task}" for task in TASKS), "repeating",
    ]  # fmt: skip
    assert all(f"<h3>fit success {task}</h3>" in text and f"<h3>Data {task}</h3>" in text for task in TASKS)
    assert "not measured" not in text and text.count("Judgement of replayed episodes") == 2
    assert text.count("episodes succeed in imagination") == 1  # the policy sees what one of the tasks sees
    kept = (tasks / "report.html").read_bytes()
    report.run(report.Config(run=str(tasks), fresh=False))
    assert (tasks / "report.html").read_bytes() == kept


def test_a_policy_alone_shows_how_it_learnt_and_how_it_is_evaluated(tasks: Path) -> None:
    text, names = page_of(tasks / "clone")
    assert names == ["success", "learning", "repeating"] and "<h3>clone</h3>" in text
    assert (
        f"worldrl evaluate policies=[{tasks}/clone] observation=OBSERVATION env.id=worldrl/CloseDrawer-v0 "
        f"out={tasks}/clone/evaluation.json"
    ) in text
    assert "Its data set lies elsewhere." in text and "masks" in text
    told = report.run(report.Config(run=str(tasks / "clone"))).figures
    assert "figures" not in told and not (tasks / "clone/report.json").exists()  # there is no world to measure


def test_a_world_alone_asks_for_its_data_and_is_measured_on_them(tasks: Path) -> None:
    world = tasks / "world" / TASKS[0]
    text, names = page_of(world)
    assert names == ["learning", "fidelity", "hallucinations", "repeating"]
    assert "It was not measured: no episodes in " in text and "episodes=EPISODES observation=OBSERVATION" in text
    at = {name: str(tasks / name / TASKS[0]) for name in ("episodes", "observation")}
    text, _ = page_of(world, **at)
    assert "not measured" not in text and "Judgement of replayed episodes" in text and "name one by policy=" in text
    figures = json.loads((world / "fidelity.json").read_text())
    sharp = {"before": {"psnr": 23.4}, "after": {"psnr": 25.23}}
    (world / "fidelity.json").write_text(json.dumps(figures | {"sharpness": sharp}))
    text, _ = page_of(world, **at)
    assert "<b>25.2 dB</b><span>23.4 before their decoder was tuned" in text
    text, _ = page_of(world, **at, policy=str(tasks / "clone"))
    assert "clone: " in text and "episodes succeed in imagination" in text


def test_a_world_of_several_tasks_alone_shows_each_of_them(tasks: Path) -> None:
    at = {name: str(tasks / name) for name in ("episodes", "observation")}
    text, _ = page_of(tasks / "world", **at)
    assert all(task in text for task in TASKS) and "not measured" not in text
    assert text.count("Judgement of replayed episodes") == len(TASKS)


ENDED = {
    "config": {"env": {"id": "worldrl/Reach-v0", "kwargs": {}}, "steps": 80, "storm": {"size": "tiny"}, "seed": 3},
    "success": 0.5, "interval": [0.2, 0.8], "outcomes": [True, False], "ret": 0.5, "length": 9.0, "imagined_end": 0.4,
    "imagined_ret": 0.75, "curve": [{"steps": 60, "success": 0.25, "ret": 0.3}], "real_steps": 80,
    "imagined_steps": 1234,
}  # fmt: skip


def test_an_online_run_shows_its_success_its_figures_and_its_command(tmp_path: Path) -> None:
    run = tmp_path / "online"
    (run / "model").mkdir(parents=True)
    (run / "model/manifest.json").write_text('{"kind": "storm"}')
    (run / "summary.json").write_text(json.dumps(ENDED))
    curves = {"train/reward": [[40, 1.0], [80, 0.5]], "train/success in MuJoCo": [[60, 0.25]]}
    (tmp_path / "online.curves.json").write_text(json.dumps(curves))
    text, names = page_of(run)
    assert names == ["success", "learning", "repeating"]
    assert "50.0 %" in text and "[20.0, 80.0], 2 episodes" in text and "imagined 0.75" in text
    assert "<figcaption>reward <b>0.5</b>" in text and "success in MuJoCo <b>0.25</b>" in text
    assert re.search(r"worldrl train env.id=worldrl/Reach-v0 .*storm.size=tiny .*seed=3 out=NEW", text)
    (run / "summary.json").unlink()
    assert "The run has not ended: its command goes on with it." in page_of(run)[0]


def test_an_evolution_shows_its_rounds_and_tells_the_curves_of_each_apart(tmp_path: Path) -> None:
    rounds = [{"policy": f"{tmp_path}/policy-{i}", "imagined_success": 0.25, "real_steps": 70 * i} for i in range(2)]
    told = {"rounds": rounds, "real_steps_at_first": 1500, "real_steps": 70}
    curves = {"fit dynamics": [[1, 2.0], [2, 1.0]]}
    for name, value in (
        ("first.json", {"steps": 1500}), ("evolution.json", told), ("world-0.curves.json", curves),
        ("world-1.curves.json", curves | {"fit success": [[1, 1.0]]}),
    ):  # fmt: skip
        (tmp_path / name).write_text(json.dumps(value))
    text, names = page_of(tmp_path)
    assert names == ["rounds", "learning", "fidelity", "hallucinations", "repeating"]
    assert "<td>policy-1</td><td>25.0 %</td><td>70</td>" in text and "1,500 real steps" in text
    assert re.findall("<h3>(.*?dynamics|fit success)</h3>", text) == [
        "world-0: fit dynamics", "world-1: fit dynamics", "fit success",
    ]  # fmt: skip


def test_a_folder_of_runs_and_a_data_set_are_refused_with_what_to_do(tasks: Path, tmp_path: Path) -> None:
    for seed in range(5):
        (tmp_path / f"seeds/seed-{seed}").mkdir(parents=True)
        (tmp_path / f"seeds/seed-{seed}/summary.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"which holds the runs seed-0, .*seed-3, \.\.\.: name one of them, e\.g\."):
        find(tmp_path / "seeds")
    with pytest.raises(ConfigError, match=r"which is a data set: worldrl inspect .* tells of it"):
        find(tasks / "episodes" / TASKS[0])
