"""``worldrl play``: a run in a page, in a real browser.

The pictures of the documentation are made here too, of a run that looks like something:
``WORLDRL_PLAY_RUN=worldrl/shipped/reach WORLDRL_PICTURES=docs pytest -m slow tests/recipes/test_play.py -k browser``.
"""

import os
import re
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any
from urllib.request import urlopen

import imageio.v3 as iio
import pytest
from play_page import ask, at_step, browsing, eventually, in_a_browser, picture, playing, session_of, until, visit

from worldrl import cli
from worldrl.errors import ConfigError
from worldrl.recipes import demo, play
from worldrl.recipes.config import compose
from worldrl.recipes.options import EncoderOptions, EnvOptions, WorldModelOptions
from worldrl.shipped import shipped


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run in which nothing has been learnt, or take the one that the environment names."""
    if named := os.environ.get("WORLDRL_PLAY_RUN"):
        return Path(named)
    out = tmp_path_factory.mktemp("runs") / "tiny"
    demo.run(
        demo.Config(
            out=str(out), env=EnvOptions(id="worldrl/CloseDrawer-v0", kwargs={"size": 56, "max_steps": 20}),
            encoder=EncoderOptions(name="none"), world_model=WorldModelOptions(size="tiny"), demonstrations=4, random=2,
            rollouts=2, clone_steps=20, fit_steps=30, success_steps=20, decoder_steps=60, imagined_steps=1024,
            episodes=2, videos=0, threads=1,
        )
    )  # fmt: skip
    return out


def taps(page: Any, key: str, count: int) -> None:
    """Begin the episode again and take steps by a key, one after the other."""
    page.keyboard.press("KeyB")
    at_step(page, 0)
    for step in range(1, count + 1):
        page.keyboard.press(key)
        at_step(page, step)


def drive(page: Any) -> None:
    """Drive by hand and see that imagination follows."""
    page.check("#beyond")
    pictures = {}
    for key in ("ArrowRight", "ArrowLeft", "KeyD", "KeyE"):
        taps(page, key, 3)
        pictures[key] = picture(page)
        assert page.get_attribute("[data-driver=you]", "aria-pressed") == "true"
    assert len(set(pictures.values())) == 3, "left, right and up must differ; D is right"
    assert pictures["ArrowRight"] == pictures["KeyD"]
    page.keyboard.press("KeyB")
    at_step(page, 0)
    assert picture(page) not in pictures.values()


def touch(page: Any) -> None:
    """Drive by touch, on a page that fits a phone."""
    page.check("#beyond")
    page.tap("#again")
    at_step(page, 0)
    page.tap(".pad .right")
    at_step(page, 1)
    assert page.get_attribute("[data-driver=you]", "aria-pressed") == "true"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def let_policies_drive(page: Any) -> None:
    """Let each policy play for a while and say how fast that is."""
    for name in ("clone", "refined"):
        page.keyboard.press("KeyB")
        page.click(f"[data-driver={name}]")
        page.wait_for_selector(f"[data-driver={name}][aria-pressed=true]")
        before, real = picture(page), picture(page, "real")
        page.click("#play")
        until(page, "#play", "Pause")
        eventually(page, lambda: int(page.get_attribute("html", "data-step")) > 15)
        eventually(page, lambda: float(page.inner_text("#fps")) > 0)
        print(f"{name}: {page.inner_text('#rate')}")
        page.click("#play")
        until(page, "#play", "Play")
        assert picture(page) != before and picture(page, "real") != real


def let_a_policy_look_at_mujoco(page: Any) -> None:
    """Let the last policy look at MuJoCo, by the switch and by its key, and see that its episode is MuJoCo's."""
    page.uncheck("#beyond")
    page.keyboard.press("KeyB")
    at_step(page, 0)
    assert page.get_attribute("[data-sight=imagination]", "aria-pressed") == "true"
    page.keyboard.press("KeyL")
    page.wait_for_selector("[data-sight=MuJoCo][aria-pressed=true]")
    page.wait_for_selector("#real.watched")
    before, real = picture(page), picture(page, "real")
    page.click("#play")
    eventually(page, lambda: int(page.get_attribute("html", "data-step")) > 3)
    assert picture(page) != before and picture(page, "real") != real
    assert "looks at MuJoCo" in page.inner_text("footer")
    eventually(page, lambda: page.is_disabled("#step"))
    assert re.search("MuJoCo has solved it|Time is over in MuJoCo", page.inner_text("#verdict"))
    page.click("[data-sight=imagination]")
    page.wait_for_selector("#imagined.watched")


def pose(page: Any, path: Path, *, steps: int) -> None:
    """Take a screenshot while the last policy plays."""
    page.uncheck("#beyond")
    page.keyboard.press("KeyB")
    page.click("[data-driver=refined]")
    at_step(page, 0)
    page.mouse.move(2, 2)
    page.keyboard.press("Space")
    eventually(page, lambda: int(page.get_attribute("html", "data-step")) >= steps or page.is_disabled("#step"))
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=path)
    assert path.stat().st_size > 10_000


@pytest.mark.slow
@in_a_browser
def test_a_run_is_played_in_a_browser_by_hand_by_its_policies_and_by_touch(run: Path, tmp_path: Path) -> None:
    out = Path(os.environ.get("WORLDRL_PICTURES", tmp_path))
    with playing(run) as url, browsing() as browser:
        desktop = browser.new_context(viewport={"width": 1180, "height": 860})
        phone = browser.new_context(
            viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True, is_mobile=True,
            color_scheme="dark",
        )  # fmt: skip
        wrong: list[str] = []
        page = visit(desktop, url, wrong)
        drive(page)
        let_policies_drive(page)
        let_a_policy_look_at_mujoco(page)
        pose(page, out / "player.png", steps=9)
        desktop.close()
        assert ask(url, command="pause") == (200, "")
        page = visit(phone, url, wrong)
        touch(page)
        pose(page, out / "player-phone.png", steps=10)
        phone.close()
        assert wrong == []
        status, why = ask(url, command="reset", episode=10_000, step=0)
        assert status == 400 and "episode must be in 0 to" in why


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_ends_it_and_finishes_the_film(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    with playing(copy, "real=false") as url:
        assert ask(url, command="go_on", on=True) == (200, "")
        assert ask(url, command="record", on=True) == (200, "")
        for _ in range(4):
            assert ask(url, command="step") == (200, "")
    assert len(iio.imread(copy / "videos" / "play-001.mp4")) == 5
    with pytest.raises(OSError, match="refused"):
        urlopen(url, timeout=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_ends_playing_as_if_all_had_been_done(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM)
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with play._interruptible():
            os.kill(os.getpid(), number)
            Event().wait(timeout=10)
            pytest.fail("it went on")
    finally:
        signal.signal(signal.SIGINT, heard)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_a_whole_run_has_its_episodes_its_policies_and_the_simulator(run: Path) -> None:
    with session_of(run) as (session, about):
        assert about["drivers"] == ["you", "clone", "refined"] and about["axes"] == ["x", "y", "z", "fingers"]
        assert len(about["lengths"]) == len(about["actors"]) == 8 and session.view().driver == "refined"
        session.reset(7, about["lengths"][7])
        real = session.view().real
        assert real is not None and real.frame.shape == (56, 56, 3)


@pytest.mark.slow
def test_a_folder_with_a_world_alone_is_played_without_simulator_and_policies_unless_they_are_named(
    run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run / "world", tmp_path / "world")
    with session_of(tmp_path) as (session, about):
        assert about["drivers"] == ["you"] and set(about["lengths"]) == {0}
        assert session.view().real is None
        session.step()
        assert session.view().step == 1
    given = {"episodes": str(run / "episodes"), "observation": str(run / "observation")}
    with session_of(tmp_path, policies=[str(run / "clone")], **given) as (session, about):
        assert about["drivers"] == ["you", "clone"] and session.view().real is not None
    with session_of(tmp_path, real=False, **given) as (session, about):
        assert max(about["lengths"]) > 0 and session.view().real is None
    with (
        pytest.raises(ConfigError, match="policies must have names of their own, got another 'clone'"),
        session_of(tmp_path, policies=[str(run / "clone")] * 2, **given),
    ):
        pass


@pytest.mark.slow
def test_what_links_lead_to_outside_a_run_is_not_read_nor_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "world").symlink_to(run / "world")
    with pytest.raises(ConfigError, match="world must lie within"), session_of(tmp_path):
        pass
    (tmp_path / "world").unlink()
    shutil.copytree(run / "world", tmp_path / "world")
    (tmp_path / "clone").symlink_to(run / "clone")
    with session_of(tmp_path) as (_, about):
        assert about["drivers"] == ["you"]
    with session_of(tmp_path, policies=[str(run / "clone")]) as (_, about):
        assert about["drivers"] == ["you", "clone"]
    (tmp_path / "videos").symlink_to(tmp_path.parent)
    with pytest.raises(ConfigError, match="videos must lie within"), session_of(tmp_path):
        pass


@pytest.mark.parametrize("name", ["model", "starts", "agent", "summary.json"])
def test_nor_what_links_of_a_run_of_train_lead_to(tmp_path: Path, name: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path)
    with pytest.raises(ConfigError, match=f"{name} must lie within"), session_of(tmp_path / "run"):
        pass


def test_a_folder_without_a_world_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run must hold a world, got none at"), session_of(tmp_path):
        pass
    with pytest.raises(ConfigError, match="no run at"):
        play.run(play.Config(run=str(tmp_path / "nothing")))


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("port=65536", "port must be in 0 to 65535"),
        ("fps=0.5", "fps must be in 1 to 60"),
        ("threads=-1", "threads must be 0 or more"),
        ("host=", "host must be an address"),
    ],
)
def test_options_out_of_range_are_refused(word: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        compose("play", ["run=runs/demo-0", word])


def test_the_run_may_stand_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ein Lauf").mkdir()
    for words in (["play", str(tmp_path / "ein Lauf")], ["play", f"run={tmp_path / 'ein Lauf'}"]):
        assert cli.main(words) == 2
        assert f"run must hold a world, got none at '{tmp_path}/ein Lauf/world'" in capsys.readouterr().err


def test_without_a_run_the_one_that_comes_along_is_played_and_nothing_is_written_into_it() -> None:
    with ExitStack() as stack:
        session, about = play._session(play.Config(real=False), shipped(), stack)
        stack.callback(session.close)
        assert about["task"] == "worldrl/Reach-v0" and about["drivers"][-1] == "refined"
        assert session.films == Path("videos")


def test_a_taken_port_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    play._tell(play.Config(run="runs/demo-0"), 8766, "http://127.0.0.1:8766/?token=t")
    assert capsys.readouterr().out.splitlines() == [
        "port 8765 is taken: 8766 it is", "play runs/demo-0 at http://127.0.0.1:8766/?token=t", "Ctrl-C ends it",
    ]  # fmt: skip
    play._tell(play.Config(run="runs/demo-0", host="0.0.0.0"), 8765, "http://192.0.2.1:8765/?token=t")
    assert "whoever has this address can play" in capsys.readouterr().out
