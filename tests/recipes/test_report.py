"""A run on one page."""

import json
import os
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from worldrl.errors import CheckpointError, ConfigError
from worldrl.recipes import demo, report
from worldrl.recipes.config import compose
from worldrl.recipes.reporting import commands, exhibits, figures

SECTIONS = ("success", "gap", "learning", "fidelity", "videos", "hallucinations", "repeating")
CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


def told(policy: str, success: float, imagined: float) -> dict[str, Any]:
    return {
        "task": "worldrl/Reach-v0", "policy": policy, "masks": "simulator", "encoder": "none", "episodes": 40,
        "success": success, "interval": {"low": success - 0.1, "high": success + 0.1}, "imagined_success": imagined,
        "gap": imagined - success, "mean_length": 12.0, "outcomes": [], "seeds": [], "real_steps": 7,
        "imagined_steps": 9,
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of which only figures are left, under a name that must not be executed."""
    folder = tmp_path / "<script>alert(1)</script>".replace("/", "_")
    (folder / "refined").mkdir(parents=True)
    config = {"demonstrations": 7, "api_key": "hunter2", "env": {"id": "worldrl/Push-v0"}, "seed": 3}
    evaluation = {
        "reports": [told("clone", 0.15, 0.25), told("<b>refined", 0.35, 0.85)],
        "gains": [{"mean": 0.2, "low": 0.05, "high": 0.35}],
    }
    candidate = {"halted": 0.0, "length": None, "agreed": 1.0, "divergence": 0.5, "believed": True}
    refinement = {
        "candidates": [{"steps": 10, "success": 0.25, **candidate}, {"steps": 640, "success": 0.85, **candidate}],
        "kept_after_steps": 640, "imagined_steps": 1234, "real_steps_during_refinement": 0, "checkpoints": [],
    }  # fmt: skip
    for name, value in (
        ("config.json", config), ("summary.json", {"seed": 3}), ("evaluation.json", evaluation),
        ("refined/refinement.json", refinement), ("clone.curves.json", {"clone": [[0, 2.0], [10, 1.0]]}),
    ):  # fmt: skip
        (folder / name).write_text(json.dumps(value))
    return folder


def page_of(run: Path, **options: Any) -> str:
    figures = report.run(report.Config(run=str(run), **options)).figures
    assert figures["out"] == run / "report.html" and figures["bytes"] == (run / "report.html").stat().st_size
    return (run / "report.html").read_text()


def test_every_section_stands_in_the_page_in_order(run: Path) -> None:
    assert re.findall(r'<section id="(\w+)"', page_of(run)) == list(SECTIONS)


def test_figures_are_those_of_the_evaluation_and_imagination_never_stands_alone(run: Path) -> None:
    text = unescape(page_of(run))
    assert "15.0 % [5.0, 25.0]" in text and "35.0 % [25.0, 45.0]" in text
    assert "+20.0" in text and "[+5.0, +35.0]" in text
    assert "85.0 %" in text and "+50.0" in text and "masks: simulator" in text
    assert "random weights" not in text
    (run / "summary.json").write_text(json.dumps({"seed": 3, "encoder": "dinov2", "encoder_random_init": True}))
    assert "encoder: dinov2 (random weights), seed 3" in page_of(run)
    assert "1,234" in text and "real steps during refinement</span><b>0</b>" in text


def test_nothing_from_a_file_becomes_markup_and_secrets_are_not_told(run: Path) -> None:
    text = page_of(run)
    assert "<script" not in text and "<b>refined" not in text and "&lt;b&gt;refined" in text
    assert "hunter2" not in text


def test_the_page_asks_nobody_for_anything(run: Path) -> None:
    text = page_of(run)
    assert not re.search(r"""(src|href|poster)\s*=\s*["']?(?!data:)""", text) and not re.search(r"url\(|@import", text)
    assert not list(run.glob(".tmp-*"))


def test_what_a_run_lacks_is_told_with_the_command_that_makes_it(run: Path) -> None:
    text = unescape(page_of(run))
    for lack, verb in (("There is no world.", "fit"), ("There are no videos side by side.", "record")):
        assert re.search(rf"{re.escape(lack)} <code>worldrl {verb} ", text)
    (run / "evaluation.json").unlink()
    assert re.search("Success was not measured in MuJoCo. <code>worldrl evaluate ", unescape(page_of(run)))
    (run / "summary.json").unlink()
    found = re.search("The run has not ended. <code>worldrl demo (.*)</code> goes on with it", page_of(run))
    assert found and "env.id=worldrl/Push-v0" in found[1] and f"out={run}" in unescape(found[1]).replace("'", "")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match="run must be a folder that worldrl demo or a stage wrote"):
            report.run(report.Config(run=str(folder)))


def test_a_damaged_file_is_one_sentence(run: Path) -> None:
    (run / "evaluation.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"evaluation\.json cannot be read as JSON"):
        report.run(report.Config(run=str(run)))


def test_videos_beyond_the_room_are_named_and_left_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "videos").mkdir()
    for name, size in (("a", 600), ("b", 500)):
        (run / "videos" / f"side_by_side_{name}.mp4").write_bytes(bytes(size))
    monkeypatch.setattr(exhibits, "ROOM", 1000)
    text = page_of(run)
    assert text.count("<video") == 1 and "side_by_side_b.mp4 is too large for this page" in text


def test_the_command_that_repeats_a_run_names_what_differs_and_composes_to_the_same() -> None:
    from dataclasses import asdict

    config = compose("demo", ["env=push", "encoder=none", "rollouts=9", "slack=0.5"], schema=demo.Config)
    words = commands.differences(asdict(config))
    assert "rollouts=9" in words and not [word for word in words if word.startswith("demonstrations")]
    assert compose("demo", words, schema=demo.Config) == config


def test_secrets_are_found_by_their_keys_at_any_depth() -> None:
    assert figures.redacted({"a": [{"my_token": "x"}], "b": 1}) == {"a": [{"my_token": figures.HIDDEN}], "b": 1}


@pytest.mark.slow
def test_a_browser_shows_it_on_a_phone_and_asks_nobody(run: Path, tmp_path: Path) -> None:
    """WORLDRL_REPORT_RUN names another run to look at, WORLDRL_PICTURES the folder in which pictures are left."""
    api = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no {CHROMIUM}")
    chosen, pictures = os.environ.get("WORLDRL_REPORT_RUN"), Path(os.environ.get("WORLDRL_PICTURES", tmp_path))
    out = tmp_path / "report.html"
    report.run(report.Config(run=chosen or str(run), out=str(out), threads=1))
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split(), timeout=60_000)
        try:
            for name, width, height in (("report", 1100, 1200), ("report-phone", 390, 1000)):
                view, asked = browser.new_page(viewport={"width": width, "height": height}), list[str]()
                view.on("request", lambda request, asked=asked: asked.append(request.url))
                view.goto(out.as_uri())
                assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
                assert view.evaluate("document.documentElement.scrollWidth") <= width
                view.screenshot(path=str(pictures / f"{name}.png"))
        finally:
            browser.close()
