"""Frames are chosen to show every object, painted by hand or by the simulator, and read back as they were."""

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from worldrl import cli
from worldrl.objects import Annotations
from worldrl.observation import ObservationPipeline
from worldrl.recipes import collect, encode
from worldrl.recipes.annotate import COLOURS
from worldrl.recipes.options import EncoderOptions, EnvOptions, ObjectOptions


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotate") / "episodes"
    env = EnvOptions("worldrl/Push-v0", {"size": 56, "max_steps": 10})
    collect.run(collect.Config(env=env, out=str(folder), policy="random", episodes=4))
    return folder


def annotate(*words: str) -> int:
    return cli.main(["annotate", *words])


def test_the_simulator_annotates_and_a_pipeline_learns_from_it(
    episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert annotate(f"episodes={episodes}", f"out={tmp_path / 'a'}", "shots=2", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["out"], told["frames"], told["by"]) == (str(tmp_path / "a"), 2, "simulator")
    found = Annotations.from_pretrained(tmp_path / "a")
    assert len(found) == 2 and found.task == "worldrl/Push-v0" and "block" in found.objects
    encode.run(
        encode.Config(
            episodes=str(episodes), out=str(tmp_path / "o"), encoder=EncoderOptions("none"),
            objects=ObjectOptions(masks="few_shot", annotations=str(tmp_path / "a")),
        )
    )  # fmt: skip
    assert ObservationPipeline.from_pretrained(tmp_path / "o").masks == "few_shot"


def test_what_is_painted_is_read(episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"episodes={episodes}", "shots=2", f"paint={tmp_path / 'paint'}"]
    assert annotate(*words) == 0
    assert "paint mask-0.png" in capsys.readouterr().out
    assert annotate(f"episodes={episodes}", f"out={tmp_path / 'simulator'}", "shots=2") == 0
    true = Annotations.from_pretrained(tmp_path / "simulator")
    for i, labels in enumerate(true.labels):
        iio.imwrite(tmp_path / "paint" / f"mask-{i}.png", np.array(COLOURS, np.uint8)[labels])
    assert annotate(*words, f"out={tmp_path / 'hand'}") == 0
    read = Annotations.from_pretrained(tmp_path / "hand")
    np.testing.assert_array_equal(read.labels, true.labels)
    np.testing.assert_array_equal(read.frames, true.frames)


@pytest.mark.fault(27)
def test_wrong_paint_is_refused(episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"episodes={episodes}", "shots=1", f"paint={tmp_path / 'paint'}", f"out={tmp_path / 'a'}"]
    assert annotate(*words) == 0
    assert annotate(*words) == 3
    assert "every object must be seen in an annotated frame" in capsys.readouterr().err
    painted = np.zeros((56, 56, 3), np.uint8)
    painted[3, 5] = (7, 7, 7)
    iio.imwrite(tmp_path / "paint" / "mask-0.png", painted)
    assert annotate(*words) == 3
    assert "got rgb(7, 7, 7) at row 3, column 5: paint without soft edges" in capsys.readouterr().err
    iio.imwrite(tmp_path / "paint" / "mask-0.png", painted[:8])
    assert annotate(*words) == 3
    assert "must have the size of its frame, (56, 56), got (8, 56)" in capsys.readouterr().err
    (tmp_path / "paint" / "mask-0.png").unlink()
    assert annotate(*words) == 3 and "it is the mask of frame-0.png" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_options_that_do_not_go_together_are_refused(episodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert annotate(f"episodes={episodes}") == 2 and "out or paint must be given" in capsys.readouterr().err
    words = [f"episodes={episodes}", "out=o", "encoder=none", "objects.masks=few_shot"]
    assert cli.main(["encode", *words]) == 2
    assert "objects.masks=few_shot and objects.annotations=FOLDER go together" in capsys.readouterr().err
