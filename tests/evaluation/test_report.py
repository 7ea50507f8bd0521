"""Reports say what really happened, and their table hides nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from worldrl.errors import DataError
from worldrl.evaluation.intervals import wilson
from worldrl.evaluation.report import Report, table


@pytest.fixture
def report() -> Report:
    return Report.of(
        task="worldrl/Button-v0",
        policy="cloned",
        masks="simulator",
        encoder="dinov2",
        outcomes=np.array([True] * 8 + [False] * 2),  # type: ignore[arg-type]
        lengths=[10] * 5 + [50] * 5,
        seeds=range(100, 110),
        real_steps=2500,
        imagined_steps=1_000_000,
        imagined_success=0.9,
    )


def test_the_figures_follow_from_the_outcomes(report: Report) -> None:
    assert (report.episodes, report.success, report.mean_length) == (10, 0.8, 30.0)
    assert report.interval == wilson(8, 10)
    assert report.gap == pytest.approx(0.1)


def test_without_a_world_model_there_is_no_gap(report: Report) -> None:
    assert replace(report, imagined_success=None).gap is None


def test_json_gives_the_report_back(report: Report) -> None:
    for written in (report, replace(report, imagined_success=None)):
        assert Report.from_json(written.to_json()) == written
    assert json.loads(report.to_json())["gap"] == pytest.approx(0.1)


@pytest.mark.parametrize("damage", ["{", "[]", "{}", "null"])
def test_json_of_something_else_is_refused(damage: str) -> None:
    with pytest.raises(DataError, match="a report must be the JSON that to_json writes"):
        Report.from_json(damage)


@pytest.mark.parametrize(
    "changes",
    [{"episodes": 9}, {"success": 0.9}, {"interval": {"low": 0}}, {"outcomes": 3}, {"mean_length": float("nan")}],
)
def test_json_that_contradicts_itself_is_refused(report: Report, changes: dict[str, object]) -> None:
    with pytest.raises(DataError):
        Report.from_json(json.dumps({**json.loads(report.to_json()), **changes}))


def test_episodes_outcomes_and_seeds_must_be_as_many(report: Report) -> None:
    with pytest.raises(
        ValueError, match="episodes must be as many as outcomes and seeds, at least 1, got 10, 10 and 2"
    ):
        replace(report, seeds=(1, 2))
    with pytest.raises(ValueError, match=r"success must be the share of the outcomes, 0\.8, got 0\.5"):
        replace(report, success=0.5)
    with pytest.raises(ValueError, match=r"imagined_success must be in \[0, 1\] or None, got 1\.5"):
        replace(report, imagined_success=1.5)


def test_the_table_is_markdown_with_real_success_first_and_the_gap_beside_it(report: Report) -> None:
    other = replace(report, policy="a|b", masks="few-shot", imagined_success=None)
    lines = table([report, other]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert cells[0][2:6] == ["success in MuJoCo (95 %)", "imagined success", "gap", "masks"]
    assert cells[2][2:6] == ["80.0 [49.0, 94.3]", "90.0", "+10.0", "masks: simulator"]
    assert cells[3][1:6] == [r"a\|b", "80.0 [49.0, 94.3]", "-", "-", "masks: few-shot"]
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == {"|", "-"}


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ValueError, match="reports must be at least 1, got 0"):
        table([])
