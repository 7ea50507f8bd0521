"""Memory and time are counted."""

import subprocess
import sys
import time

import pytest

from worldrl.evaluation.memory import Stopwatch


def measured(script: str) -> list[float]:
    """Run lines that print peaks in a fresh process, as the peak of this one depends on the tests before."""
    setup = "import subprocess, sys\nfrom worldrl.evaluation.memory import peak_memory_gb as peak\n"
    out = subprocess.run([sys.executable, "-c", setup + script], check=True, capture_output=True, text=True).stdout
    return [float(line) for line in out.split()]


def test_the_peak_grows_with_what_is_held_and_does_not_shrink_again() -> None:
    before, held, after = measured("print(peak()); x = bytearray(200_000_000); print(peak()); del x; print(peak())")
    assert 0.005 < before < 0.15
    assert held == pytest.approx(before + 0.2, abs=0.02)
    assert after == pytest.approx(held, abs=0.005)


def test_a_child_counts_where_it_is_the_larger_one_and_is_not_added() -> None:
    child = "subprocess.run([sys.executable, '-c', '{}'], check=True); print(peak())\n"
    big = child.format("x = bytearray(150_000_000)")
    before, grown, still = measured("print(peak())\n" + big + child.format("pass"))
    assert grown > before + 0.1
    assert still == pytest.approx(grown, abs=0.005)
    held, small = measured("x = bytearray(150_000_000); print(peak())\n" + child.format("pass"))
    assert small == pytest.approx(held, abs=0.01)


def test_a_stage_that_comes_again_adds_up() -> None:
    watch = Stopwatch()
    for _ in range(2):
        with watch.stage("fit"):
            time.sleep(0.02)
    with watch.stage("refine"):
        pass
    assert list(watch.seconds_by_stage) == ["fit", "refine"]
    assert 0.04 <= watch.seconds_by_stage["fit"] < 2
    assert watch.seconds_by_stage["refine"] < 0.02


def test_a_stage_that_fails_counts_until_it_failed() -> None:
    watch = Stopwatch()
    with pytest.raises(KeyError), watch.stage("fit"):
        raise KeyError
    assert watch.seconds_by_stage["fit"] >= 0
