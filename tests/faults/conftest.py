"""Fixtures of the faults; rows and page are modules, so that they can be made without pytest too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
