"""Evaluate a model beside its controls: python evaluate.py --model DIR --samples DIR ... --out DIR.

Reads sample shards (prepare.py samples), tokenizes them with the model's own tokenizers, and writes report.md,
report.json and figures into --out.
"""

import sys
from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from neuroleon.common.errors import ConfigError, exit_cleanly


def parse(argv: Sequence[str]) -> Any:
    """Read the command line.

    Raises:
        ConfigError: an unknown flag, a value of the wrong type, or a flag that is missing.
    """
    parser = ArgumentParser(prog="evaluate.py", exit_on_error=False, description=__doc__)
    parser.add_argument("--model", type=str, required=True, help="a model folder, or a hub id")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="folders of sample shards, one per set")
    parser.add_argument("--split", type=str, default="test", help="train, validation or test; no other split is scored")
    parser.add_argument(
        "--tasks", type=str, nargs="+", default=["eeg2label", "eeg2text", "eeg2image"], help="what to evaluate"
    )
    parser.add_argument("--limit", type=int | None, default=200, help="windows per set, balanced; null takes all")
    parser.add_argument("--seed", type=int, default=0, help="of trials drawn, shuffle, noise, sampling and bootstrap")
    parser.add_argument("--device", type=str, default="cpu", help="cpu, cuda ...")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    try:
        return parser.parse_args(list(argv))
    except ArgumentError as error:
        raise ConfigError(f"{error}; --help lists the settings") from None


@exit_cleanly
def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate, write the report, and say where it is and what it found."""
    given = parse(sys.argv[1:] if argv is None else argv)
    from neuroleon.evaluation.runner import Evaluation, evaluate_folder  # after the flags: it loads torch

    values = {f.name: getattr(given, f.name) for f in fields(Evaluation)}
    settings = Evaluation(**values | {"samples": tuple(given.samples), "tasks": tuple(given.tasks)})
    report = evaluate_folder(given.model, settings, given.out, given.device)
    for result in report.sets:
        if result.audit.confounded:
            print(f"{result.recipe}: {result.audit.confounded}")
        for task in result.tasks:
            for c in task.comparisons:
                print(f"{result.recipe} {task.task}: {c.metric}: real {c.conditions['real'].mean:.3f}, {c.verdict}")
    print(f"report: {given.out / 'report.md'}")


if __name__ == "__main__":
    main()
