"""Curves are for people; training does not hang on them."""

from pathlib import Path
from typing import Any

import pytest

from worldrl.recipes.telling import curve

tensorboard = pytest.importorskip("torch.utils.tensorboard")


@pytest.mark.fault(61)
@pytest.mark.parametrize("failing", ["__init__", "add_scalar", "close"])
def test_a_writer_that_fails_is_left_alone_with_one_warning(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 61: the logger's backend fails; training goes on."""
    calls: list[str] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            self.meet("__init__")

        def add_scalar(self, *args: Any) -> None:
            self.meet("add_scalar")

        def close(self) -> None:
            self.meet("close")

        def meet(self, name: str) -> None:
            calls.append(name)
            if name == failing:
                raise OSError("disk full")

    monkeypatch.setattr(tensorboard, "SummaryWriter", Writer)
    with curve("fit", str(tmp_path)) as show:
        for step in range(3):
            show(step, 0.5)
    assert calls.count(failing) == 1
    assert capsys.readouterr().err == "worldrl: TensorBoard fails, this goes on without it: disk full.\n"
