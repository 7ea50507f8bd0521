"""What tuning brings is told seed by seed, and a finished seed is not run again."""

import json
from pathlib import Path
from typing import Any

import pytest

from worldrl.errors import ConfigError
from worldrl.recipes import sharpen
from worldrl.recipes.options import EnvOptions, ObjectOptions, WorldModelOptions
from worldrl.recipes.results import figures_of


def tiny(out: Path, **changes: Any) -> sharpen.Config:
    settings: dict[str, Any] = {
        "env": EnvOptions(id="worldrl/Reach-v0", kwargs={"size": 64, "max_steps": 18}),
        "objects": ObjectOptions(visual=1, visual_steps=2, components=4), "world_model": WorldModelOptions(size="tiny"),
        "experts": 2, "random": 2, "unseen": 3, "fit_steps": 2, "post_steps": 2, "seeds": [0],
    }  # fmt: skip
    return sharpen.Config(out=str(out / "runs"), table=str(out / "sharpen.md"), **(settings | changes))


def test_the_command_leaves_table_and_figures_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = sharpen.run(tiny(tmp_path))
    text, figures = result.text, json.loads((tmp_path / "sharpen.json").read_text())
    assert figures_of(result).items() >= figures.items()
    (found,) = figures["seeds"]
    assert set(found) >= set(sharpen.WAYS) and found["frames_measured"] % 16 == 0
    assert found["mixed"] != found["recorded"] != found["before"]
    assert text == (tmp_path / "sharpen.md").read_text() and "| 0 | as encoded |" in text
    monkeypatch.setattr(sharpen, "_one", lambda config, folder, seed: found | {"seed": seed})
    assert "| 1 | as encoded |" in sharpen.run(tiny(tmp_path, seeds=[0, 1])).text
    with pytest.raises(ConfigError, match=r"seed-0 was made with post_steps=2: choose another out"):
        sharpen.run(tiny(tmp_path, post_steps=3))


@pytest.mark.parametrize(
    ("st_lpips", "clean", "reached"), [(0.19, 29.8, True), (0.21, 31.0, False), (0.19, 29.6, False), (None, 31.0, None)]
)
def test_sharper_is_what_looks_better_and_loses_little(
    st_lpips: float | None, clean: float, reached: bool | None
) -> None:
    before = {"clean_psnr": 30.0, "st_lpips": None if st_lpips is None else 0.2}
    after = {"clean_psnr": clean, "st_lpips": st_lpips}
    assert sharpen.met({"before": before, "mixed": after}) is reached
