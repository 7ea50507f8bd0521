"""One renderer draws many environments without mixing them up, and says so when it cannot draw."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from worldrl.envs import rendering
from worldrl.envs.drawer import OpenDrawerEnv
from worldrl.envs.press_button import PressButtonEnv
from worldrl.errors import RenderError


@pytest.fixture(autouse=True)
def one_renderer() -> Iterator[None]:
    rendering.close_shared_renderer()
    yield
    rendering.close_shared_renderer()


def alone(make: Any, *, size: int) -> np.ndarray:
    """Return the first frame of an environment that is the only one of a new renderer."""
    rendering.close_shared_renderer()
    return make(size=size).reset(seed=0)[0]["image"]


def test_a_frame_drawn_alone_equals_the_same_frame_beside_another_environment() -> None:
    expected = alone(PressButtonEnv, size=48), alone(OpenDrawerEnv, size=64)
    rendering.close_shared_renderer()
    button, drawer = PressButtonEnv(render_mode="rgb_array", size=48), OpenDrawerEnv(render_mode="rgb_array", size=64)
    button.reset(seed=0)
    drawer.reset(seed=0)
    for _ in range(2):
        assert np.array_equal(button.render(), expected[0])
        button.labels()
        assert np.array_equal(drawer.render(), expected[1])


def test_a_frame_does_not_depend_on_what_was_segmented_before() -> None:
    env = PressButtonEnv(render_mode="rgb_array", size=48)
    frame = env.reset(seed=0)[0]["image"]
    labels = env.labels()
    assert np.array_equal(env.render(), frame)
    assert np.array_equal(env.labels(), labels)


def test_more_sizes_than_are_kept_ready_are_still_drawn_the_same() -> None:
    first = PressButtonEnv(render_mode="rgb_array", size=48)
    frame = first.reset(seed=0)[0]["image"]
    for size in range(16, 16 + rendering.MAX_TARGETS):
        assert PressButtonEnv(size=size).reset(seed=0)[0]["image"].shape == (size, size, 3)
    assert np.array_equal(first.render(), frame)


def test_a_closed_renderer_is_made_again_and_draws_the_same() -> None:
    env = PressButtonEnv(render_mode="rgb_array", size=48)
    frame = env.reset(seed=0)[0]["image"]
    rendering.close_shared_renderer()
    assert np.array_equal(env.render(), frame)


def test_frames_are_not_views_of_a_buffer_that_is_drawn_over() -> None:
    env = PressButtonEnv(size=48)
    first = env.reset(seed=0)[0]["image"]
    kept = first.copy()
    env.reset(seed=1)
    assert np.array_equal(first, kept)


def test_without_a_render_mode_nothing_is_rendered() -> None:
    env = PressButtonEnv(size=16)
    env.reset(seed=0)
    assert env.render() is None


@pytest.mark.fault(54)
def test_a_missing_library_is_an_error_that_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ImportError(f"lib{name} is not installed")

    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering, "_context", broken)
    with pytest.raises(RenderError, match=r"osmesa: libosmesa .* egl: libegl .*: install libosmesa6"):
        PressButtonEnv(size=16).reset(seed=0)


@pytest.mark.fault(54)
def test_a_library_that_was_asked_for_is_not_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def broken(name: str) -> Any:
        asked.append(name)
        raise AttributeError("eglQueryString")

    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(rendering, "_context", broken)
    with pytest.raises(RenderError, match="install libegl1"):
        rendering.Renderer()
    assert asked == ["egl"]


@pytest.mark.fault(54)
def test_a_second_kind_of_library_is_tried_when_the_first_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    working = rendering._context

    def first_broken(name: str) -> Any:
        if name == "osmesa":
            raise ImportError("libOSMesa is not installed")
        return working("osmesa")

    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering, "_context", first_broken)
    renderer = rendering.Renderer()
    assert renderer.backend == "egl"
    renderer.close()


@pytest.mark.fault(54)
def test_an_unknown_library_is_refused_in_a_process_of_its_own() -> None:
    code = "from worldrl.envs.press_button import PressButtonEnv as Env; Env(size=16).reset(seed=0)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "MUJOCO_GL": "nonsense"}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "RenderError: MuJoCo cannot be imported with MUJOCO_GL=nonsense" in done.stderr


@pytest.mark.fault(54)
def test_a_library_that_mujoco_knows_but_that_needs_a_display_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    with pytest.raises(RenderError, match="MUJOCO_GL must be one of osmesa, egl or unset, got 'glfw'"):
        rendering.Renderer()


@pytest.mark.parametrize("backend", ["osmesa", "egl"])
def test_a_process_that_drew_ends_without_a_word(backend: str) -> None:
    code = "from worldrl.envs.press_button import PressButtonEnv as Env; Env(size=16).reset(seed=0)"
    inherited = {name: value for name, value in os.environ.items() if name != "PYOPENGL_PLATFORM"}  # MuJoCo sets it
    env = inherited | {"MUJOCO_GL": backend}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    if "RenderError" in done.stderr:
        pytest.skip(f"this machine does not draw with {backend}")
    assert (done.returncode, done.stderr) == (0, "")
