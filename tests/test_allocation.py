"""What is freed is used again, rather than given back and cleared."""

import subprocess
import sys

import pytest

CODE = """
import resource, sys
import torch
from worldrl.allocation import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(77)
for i in range(60):
    if i == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**20)  # 4 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(word: str) -> int:
    words = [sys.executable, "-c", CODE, word]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env={"MALLOC_MMAP_THRESHOLD_": "131072"})
    if done.returncode == 77:
        pytest.skip("another C library than glibc")
    return int(done.stdout)


def test_memory_that_was_freed_is_not_asked_for_again() -> None:
    assert faults("keep") < 0.1 * faults("as it is")
