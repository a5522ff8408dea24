"""Every evaluation on a test split, written down: a split that was looked at often, and chosen by, is no test any more.

`test-uses.jsonl` lies in the folder that holds the folder of the model (models of one folder share it) or tokenizer; of
a tokenizer that is part of a model, beside that model. What has no folder, a model of the hub or baselines, is written
in the working directory. It is only ever appended to: replacing a report or a model leaves it as it is.
"""

import json
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import parse_json

FILE = "test-uses.jsonl"
USES = "uses of the test split before this one"  # what a report calls them


class Ledger:
    """The ledger that uses of test splits are written to.

    Args:
        evaluated: the folder of a model or tokenizer, or the hub id of a model; None for what is neither.

    Raises:
        ConfigError: it cannot be written.
        DataError: a line of it is damaged.
    """

    def __init__(self, evaluated: Path | str | None) -> None:
        self.path = _place(evaluated) / FILE
        try:
            with self.path.open("a+", encoding="utf-8") as file:
                file.seek(0)
                lines = file.read().splitlines()
        except OSError as error:
            raise ConfigError(
                f"{self.path}: uses of the test split are written there, and it cannot be ({error.strerror}); "
                "make that folder one where you can write, or evaluate --split validation"
            ) from None
        self.uses: list[dict[str, Any]] = [_use(line, f"{self.path}, line {n}") for n, line in enumerate(lines, 1)]

    def before(self, fingerprint: str, name: str, shards: str) -> tuple[int, int]:
        """How often this one, and how often anything, was scored before on a test split that is as good as this one: of
        a set of this name, which may have been prepared anew since, or of these very shards."""
        models = [use["model"] for use in self.uses if use["set"] == name or use["shards"] == shards]
        return models.count(fingerprint), len(models)

    def write(self, fingerprint: str, sets: Sequence[tuple[str, str]], settings: dict[str, Any]) -> str:
        """Append one line for each set, (its name, the fingerprint of its shards).

        Args:
            fingerprint: of the model or tokenizer, or what else was evaluated.
            settings: how, for whoever reads the ledger.

        Returns:
            What the ledger held before, in words: `USES` of the report.
        """
        counts = [(name, *self.before(fingerprint, name, shards)) for name, shards in sets]
        date, commit = datetime.now(UTC).isoformat(timespec="seconds"), _commit()
        uses = [
            {"date": date, "model": fingerprint, "set": name, "shards": shards, "settings": settings, "commit": commit}
            for name, shards in sets
        ]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(use) + "\n" for use in uses))
        self.uses += uses
        return "; ".join(f"{name}: {own} of this one, {every} of any" for name, own, every in counts)


def _place(evaluated: Path | str | None) -> Path:
    if evaluated is None or not Path(evaluated).is_dir():
        return Path.cwd()
    folder = Path(evaluated).resolve()
    model = folder.parent.parent
    is_part = folder.parent.name == "tokenizers" and (model / "vocabulary.json").is_file()
    return model.parent if is_part else folder.parent


def _use(line: str, where: str) -> dict[str, Any]:
    use = parse_json(line.encode(), where)
    if not isinstance(use, dict) or not {"model", "set", "shards"} <= use.keys():
        raise DataError(f"{where}: expected model, set and shards; restore the line or move the file away")
    return use


def _commit() -> str | None:
    """The commit of this code, where it is a checkout of git."""
    root = Path(__file__).resolve().parent.parent
    ask = ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        top, commit = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split("\n")[:2]
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit if Path(top) == root else None  # installed inside of somebody else's checkout
