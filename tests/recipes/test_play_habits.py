"""What people do with the page of ``worldrl play`` beside playing: reload, go back, look twice, take a film along."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import pytest
from play_page import ask, at_step, browsing, eventually, in_a_browser, picture, playing, until, visit

from worldrl.shipped import shipped

pytestmark = [pytest.mark.slow, in_a_browser]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(shipped(), tmp_path_factory.mktemp("runs") / "reach"))


@pytest.fixture
def browser() -> Iterator[Any]:
    with browsing() as browser:
        yield browser


def step_of(page: Any) -> int:
    return int(page.get_attribute("html", "data-step"))


@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning")
def test_a_film_goes_on_while_nobody_looks_and_is_taken_along(run: Path, browser: Any, tmp_path: Path) -> None:
    wrong: list[str] = []
    with playing(run) as url:
        context = browser.new_context()
        page = visit(context, url, wrong)
        assert page.is_hidden("#film")
        page.click("#record")
        until(page, "#record", "Stop")
        page.close()
        page = visit(context, url, wrong)
        until(page, "#record", "Stop")
        page.click("#step")
        at_step(page, 1)
        page.click("#record")
        until(page, "#film", "Download play-001.mp4")
        with page.expect_download() as taken:
            page.click("#film")
        taken.value.save_as(tmp_path / taken.value.suggested_filename)
        assert len(iio.imread(tmp_path / "play-001.mp4")) == 2 and wrong == []


def test_a_page_that_comes_back_shows_what_is_and_its_sliders_what_they_do(run: Path, browser: Any) -> None:
    wrong: list[str] = []
    with playing(run) as url:
        page = visit(browser.new_context(), url, wrong)
        page.check("#beyond")
        page.click("#play")
        eventually(page, lambda: step_of(page) > 3)
        page.reload()
        until(page, "#play", "Pause")
        page.goto("about:blank")
        page.go_back()
        until(page, "#play", "Pause")
        before = step_of(page)
        eventually(page, lambda: step_of(page) > before)
        for slider in ("#strength", "#axis-3", "#pace"):
            assert float(page.input_value(slider)) == float(page.inner_text(f"{slider} ~ output"))
        assert wrong == []


def test_two_windows_show_the_same_and_either_drives(run: Path, browser: Any) -> None:
    wrong: list[str] = []
    with playing(run) as url:
        context = browser.new_context()
        one, other = visit(context, url, wrong), visit(context, url, wrong)
        for driving, seeing in ((one, other), (other, one)):
            driving.bring_to_front()
            driving.keyboard.press("KeyB")
            at_step(driving, 0)
            driving.keyboard.press("ArrowRight")
            at_step(driving, 1)
            at_step(seeing, 1)
            assert picture(driving) == picture(seeing)
        assert wrong == []


def test_a_page_that_was_busy_shows_the_latest_and_not_all_that_it_missed(run: Path, browser: Any) -> None:
    with playing(run) as url:
        page = visit(browser.new_context(), url, [])
        assert ask(url, command="go_on", on=True)[0] == ask(url, command="pace", fps=50)[0] == 200
        page.click("#play")
        eventually(page, lambda: step_of(page) > 10)
        went_on = page.evaluate(
            """() => new Promise(done => {
              const step = () => Number(document.documentElement.dataset.step);
              const before = step(), busy = performance.now() + 2000;
              new MutationObserver(() => done(step() - before))
                .observe(document.documentElement, { attributeFilter: ["data-step"] });
              while (performance.now() < busy);
            })"""
        )
        assert went_on > 5, "in the first that it shows again"


def test_a_button_that_is_held_is_one_for_the_keyboard_and_for_what_only_clicks(run: Path, browser: Any) -> None:
    wrong: list[str] = []
    asked: list[Any] = []
    with playing(run) as url:
        page = visit(browser.new_context(), url, wrong)
        page.on("request", lambda request: asked.append(request.post_data_json))
        page.focus(".pad .right")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        at_step(page, 1)
        page.evaluate("document.querySelector('.pad .up').click()")
        at_step(page, 2)
        page.focus("#pace")
        page.keyboard.press("Period")
        at_step(page, 3)
        page.wait_for_timeout(150)
        acts = [one["action"][:2] for one in asked if one and one["command"] == "act"]
        assert acts == [[1, 0], [0, 0], [0, 1], [0, 0]] and wrong == []
