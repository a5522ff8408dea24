"""The import name: `neuroleon.tokenizers` is this checkout's folder `tokenizers/` (docs/adr/0001-import-name.md)."""

from pathlib import Path

__version__ = "0.1.0"

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file():  # a checkout, not an installed wheel
    __path__.insert(0, str(_checkout))
