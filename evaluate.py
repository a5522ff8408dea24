"""Evaluate a model beside its controls: python evaluate.py --model DIR --samples DIR ... --out DIR.

Reads sample shards (prepare.py samples), tokenizes them with the model's own tokenizers, and writes report.md,
report.json and figures into --out.

An EEG tokenizer alone: python evaluate.py tokenizer --tokenizer DIR --samples DIR ... --out DIR.
"""

import sys
from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from neuroleon.common.errors import ConfigError, exit_cleanly


def model_parser() -> ArgumentParser:
    """The command line of a model's report."""
    parser = ArgumentParser(prog="evaluate.py", exit_on_error=False, description=__doc__)
    parser.add_argument("--model", type=str, required=True, help="a model folder, or a hub id")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="folders of sample shards, one per set")
    parser.add_argument(
        "--baseline-samples", type=Path, nargs="+", default=[], help="shards of the windows before the events of a set"
    )
    parser.add_argument("--split", type=str, default="test", help="train, validation or test; no other split is scored")
    parser.add_argument(
        "--tasks", type=str, nargs="+", default=["eeg2label", "eeg2text", "eeg2image"], help="what to evaluate"
    )
    parser.add_argument("--limit", type=int | None, default=200, help="windows per set, balanced; null takes all")
    parser.add_argument("--seed", type=int, default=0, help="of trials drawn, shuffle, noise, sampling and bootstrap")
    parser.add_argument("--device", type=str, default="cpu", help="cpu, cuda ...")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    return parser


def tokenizer_parser() -> ArgumentParser:
    """The command line of an EEG tokenizer's report."""
    parts = ["fidelity", "robustness", "retention", "curve", "codecs", "identity"]
    parser = ArgumentParser(
        prog="evaluate.py tokenizer",
        exit_on_error=False,
        description="What an EEG tokenizer keeps, what moves its ids, and what its ids tell, beside simpler codecs.",
    )
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer folder")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="folders of sample shards, one per set")
    parser.add_argument("--split", type=str, default="test", help="validation or test; probes are trained on train")
    parser.add_argument("--parts", type=str, nargs="+", default=parts, help="what to measure")
    parser.add_argument("--limit", type=int | None, default=200, help="windows per set, balanced; null takes all")
    parser.add_argument(
        "--recordings", type=Path, nargs="+", default=[], help="raw files of 500 Hz or more: do ids depend on the rate?"
    )
    parser.add_argument("--seed", type=int, default=0, help="of windows drawn, dropped channels, probes and bootstrap")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    return parser


def parse(parser: ArgumentParser, argv: Sequence[str]) -> Any:
    """Read the command line.

    Raises:
        ConfigError: an unknown flag, a value of the wrong type, or a flag that is missing.
    """
    try:
        return parser.parse_args(list(argv))
    except ArgumentError as error:
        raise ConfigError(f"{error}; --help lists the settings") from None


@exit_cleanly
def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate, write the report, and say where it is and what it found."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["tokenizer"]:
        evaluate_tokenizer(argv[1:])
    else:
        evaluate_model(argv)


def evaluate_model(argv: Sequence[str]) -> None:
    """The report of a model."""
    given = parse(model_parser(), argv)
    from neuroleon.evaluation.runner import Evaluation, evaluate_folder  # after the flags: it loads torch

    values = {f.name: getattr(given, f.name) for f in fields(Evaluation)}
    values |= {name: tuple(values[name]) for name in ("samples", "tasks", "baseline_samples")}
    settings = Evaluation(**values)
    report = evaluate_folder(given.model, settings, given.out, given.device)
    for result in report.sets:
        if result.audit.confounded:
            print(f"{result.recipe}: {result.audit.confounded}")
        for task in result.tasks:
            for c in task.comparisons:
                print(f"{result.recipe} {task.task}: {c.metric}: real {c.conditions['real'].mean:.3f}, {c.verdict}")
    print(f"report: {given.out / 'report.md'}")


def evaluate_tokenizer(argv: Sequence[str]) -> None:
    """The report of an EEG tokenizer."""
    given = parse(tokenizer_parser(), argv)
    from neuroleon.evaluation.eeg.page import gate_table
    from neuroleon.evaluation.eeg.runner import TokenizerEvaluation, evaluate_tokenizer_folder

    values = {f.name: getattr(given, f.name) for f in fields(TokenizerEvaluation)}
    values |= {name: tuple(values[name]) for name in ("samples", "parts", "recordings")}
    report = evaluate_tokenizer_folder(given.tokenizer, TokenizerEvaluation(**values), given.out)
    if report.gates:
        print(gate_table(report.gates))
    print(f"report: {given.out / 'report.md'}")


if __name__ == "__main__":
    main()
