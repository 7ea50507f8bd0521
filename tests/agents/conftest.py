"""Tests of learners share toys with known answers, which are in ``toys``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
