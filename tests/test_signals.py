"""SIGINT and SIGTERM: the first is granted when a step is whole, the second ends at once."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from worldrl import signals
from worldrl.errors import StorageError

LOOP = """
import sys, time
from worldrl import signals
try:
    with signals.listen(), signals.patient():
        for step in range(1000):
            print("begun", step, flush=True)
            time.sleep({step_s})
            print("whole", step, flush=True)
            signals.grant()
except signals.Stopped as stopped:
    print("kept", flush=True)
    sys.exit(stopped.exit_code)
"""


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """A shell's background job ignores SIGINT, and with it these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def hear() -> None:
    """Hear SIGINT even where whoever tests ignores it, as behind ``nohup``."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ended(step_s: float, *numbers: int, between_s: float = 0.0) -> tuple[int, str, float]:
    """Send signals to a loop in its first step; return its exit code, what it told, and the seconds it then took."""
    command = [sys.executable, "-c", LOOP.format(step_s=step_s)]
    loop = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear)
    assert loop.stdout is not None and loop.stdout.readline() == "begun 0\n"
    began = time.monotonic()
    for number in numbers:
        loop.send_signal(number)
        time.sleep(between_s)
    told, _ = loop.communicate(timeout=60)
    return loop.returncode, told, time.monotonic() - began


@pytest.mark.fault(57)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_lets_the_step_finish(number: int, code: int) -> None:
    """Fault 57: SIGINT or SIGTERM in the middle of a step."""
    assert ended(0.5, number)[:2] == (code, "whole 0\nkept\n")


@pytest.mark.fault(57)
def test_the_second_signal_is_at_once() -> None:
    """Fault 57: SIGINT twice."""
    code, told, seconds = ended(30.0, signal.SIGINT, signal.SIGINT, between_s=0.5)
    assert (code, told) == (130, "") and seconds < 20


def test_the_same_signal_twice_at_once_is_one() -> None:
    assert ended(1.0, signal.SIGTERM, signal.SIGTERM)[:2] == (143, "whole 0\nkept\n")


def test_where_nobody_is_patient_the_first_signal_interrupts() -> None:
    with pytest.raises(signals.Stopped) as stopped, signals.listen():
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("went on")
    assert stopped.value.exit_code == 143 and isinstance(stopped.value, KeyboardInterrupt)


def test_a_signal_that_nobody_granted_counts_at_the_end_and_is_forgotten_after() -> None:
    done = []
    with pytest.raises(signals.Stopped), signals.listen(), signals.patient():
        signal.raise_signal(signal.SIGINT)
        assert signals.stopping()
        done.append("the step")
    assert done == ["the step"] and not signals.stopping()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_breaks_after_a_signal_is_its_doing_unless_it_is_an_error_of_ours() -> None:
    """An import of C code that is cut off says only that initialisation failed."""
    for error, told in ((ImportError("initialization failed"), signals.Stopped), (StorageError("full"), StorageError)):
        with pytest.raises(told), signals.listen():
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            raise error
    with pytest.raises(ImportError, match="no such"), signals.listen():
        raise ImportError("no such module")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals.listen():
            signal.raise_signal(signal.SIGINT)
            assert not signals.stopping()
    finally:
        signal.signal(signal.SIGINT, before)
