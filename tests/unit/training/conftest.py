"""Tests here share a tiny stage; it is a module of its own, because a subprocess imports it too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
