"""``worldrl play`` of what ``worldrl train`` wrote: the same page, without an ensemble, and games with keys."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from play_page import at_step, browsing, in_a_browser, playing, session_of, visit

from worldrl.errors import ConfigError
from worldrl.recipes import train
from worldrl.recipes.config import compose

TINY = [
    "steps=60", "warmup=40", "every=8", "checks=0", "episodes=1", "storm.size=tiny", "storm.batch_size=2",
    "storm.length=8", "agent.width=16", "agent.depth=1", "agent.starts=4", "agent.horizon=3", "env.kwargs.size=32",
    "env.kwargs.max_steps=12",
]  # fmt: skip


def trained(out: Path, *words: str) -> Path:
    train.run(compose("train", [*TINY, f"out={out}", *words], schema=train.Config))
    return out


@pytest.fixture(scope="module")
def touch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "touch", "inputs=both")


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("minatar")
    return trained(tmp_path_factory.mktemp("runs") / "game", "inputs=both", "env=minatar_breakout")


@pytest.mark.slow
def test_its_agent_plays_some_episodes_to_begin_from_and_does_in_mujoco_again_what_it_did(
    touch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with session_of(touch) as (session, about):
        assert "the agent plays some to begin from" in capsys.readouterr().out
        assert about["drivers"] == ["you", "agent"] and about["actors"] == ["agent"] * 4 and not about["choices"]
        assert about["axes"] == ["x", "y", "z", "fingers"] and max(about["lengths"]) == 12
        session.look("MuJoCo")
        session.reset(2, 0)
        recorded = session.moments.episodes[2]
        assert np.allclose(session._real.obs, session._dream.obs), "both begin from what was seen"
        for act in recorded.acts[:8]:
            session.step()
            assert np.allclose(session.view().action, act, atol=1e-4)
        assert session.view().disagreement is None and 0.0 < session.view().success_probability < 1.0
        assert not np.array_equal(session.view().real.frame, recorded.frames[0])


@pytest.mark.slow
def test_what_is_seen_of_no_frame_cannot_be_looked_at(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "inputs=objects")
    with pytest.raises(ConfigError, match="run must be of a world that draws frames, got"), session_of(run):
        pass


@pytest.mark.slow
def test_without_simulator_a_world_is_played_from_its_own_starts(touch: Path) -> None:
    with session_of(touch, real=False) as (session, about):
        assert about["sights"] == ["imagination"] and session.view().real is None
        session.step()
        assert session.view().step == 1


@pytest.mark.slow
def test_a_game_is_played_by_what_its_actions_are_called(game: Path) -> None:
    with session_of(game) as (session, about):
        assert about["choices"] == about["axes"] == ["stay", "left", "right"]
        assert about["sights"] == ["imagination"] and len(about["lengths"]) > 4 and set(about["lengths"]) == {0}
        session.drive("you")
        session.go_on(True)
        session.step()
        assert session.view().action == (1.0, 0.0, 0.0), "who does nothing stays"
        session.drive("agent")
        session.step()
        assert sorted(session.view().action) == [0.0, 0.0, 1.0]


@pytest.mark.slow
@in_a_browser
def test_a_game_is_played_in_a_browser_by_buttons_and_by_keys(game: Path) -> None:
    with playing(game) as url, browsing() as browser:
        wrong: list[str] = []
        asked: list[Any] = []
        page = visit(browser.new_context(), url, wrong)
        page.on("request", lambda request: asked.append(request.post_data_json))
        assert page.is_hidden("#hands") and page.is_hidden("#looking") and page.is_hidden("#real")
        assert page.inner_text("#choices").split() == ["stay", "left", "right"]
        assert page.inner_text("#doubt output") == "none" and "Probability of the end" in page.inner_text("#success")
        page.check("#beyond")
        for press in (lambda: page.keyboard.press("ArrowRight"), lambda: page.click("#choices :text('left')")):
            page.keyboard.press("KeyB")
            at_step(page, 0)
            press()
            at_step(page, 1)
        page.wait_for_timeout(150)
        acts = [one["action"] for one in asked if one and one["command"] == "act"]
        assert acts == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]] and wrong == []
