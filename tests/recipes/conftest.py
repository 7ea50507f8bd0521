"""Tests of recipes share a player's page, which is in ``play_page``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
