"""Evaluate a model beside its controls, an EEG tokenizer beside simpler codecs, or put reports side by side.

python evaluate.py --model DIR --samples DIR ... --out DIR                a model
python evaluate.py tokenizer --tokenizer DIR --samples DIR ... --out DIR  an EEG tokenizer
python evaluate.py compare REPORT_A REPORT_B [--out DIR]                  two reports of models
python evaluate.py seeds REPORT REPORT ... [--out DIR]                    models that differ in their seed alone
python evaluate.py folds REPORT REPORT ... [--out DIR]                    models tested on other recordings each
"""

import sys
from argparse import ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from neuroleon.common.errors import ConfigError, DataError, exit_cleanly


def model_parser() -> ArgumentParser:
    """The command line of a model's report."""
    listed = "\n".join(f"  {name:<10} {command.summary}" for name, command in COMMANDS.items())
    parser = ArgumentParser(
        prog="evaluate.py [model]",
        exit_on_error=False,
        formatter_class=RawDescriptionHelpFormatter,
        description="Evaluate a model on sample shards (prepare.py samples), every number beside its controls,\n"
        "and write report.html, report.md, report.json and figures.",
        epilog=f"commands (evaluate.py COMMAND --help tells more; without one, a model is evaluated):\n{listed}",
    )
    parser.add_argument("--model", type=str, required=True, help="a model folder, or a hub id")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="folders of sample shards, one per set")
    parser.add_argument(
        "--before-samples", type=Path, nargs="+", default=[], help="shards of the windows before the events of a set"
    )
    parser.add_argument(
        "--split",
        type=str,
        default="test",
        help="the one split that is scored: train, validation or test (default %(default)s)",
    )
    parser.add_argument(
        "--tasks",
        type=str,
        nargs="+",
        default=["eeg2label", "eeg2text", "eeg2image", "eeg2both"],
        help="which of eeg2label, eeg2text, eeg2image and eeg2both (default all)",
    )
    parser.add_argument(
        "--limit", type=int | None, default=200, help="windows per set, balanced; null takes all (default %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of trials drawn, shuffle, noise, sampling and bootstrap (default %(default)s)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.7,
        help="of the ids of pictures; 0 draws the likeliest, as labels and sentences always are (default %(default)s)",
    )
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="fit the methods of the field to the training windows, and ask them the same (minutes for each set)",
    )
    parser.add_argument(
        "--attribution",
        action="store_true",
        help="find the electrodes and steps of time that moved the label, on sets with labels: 2 (1 + 3 steps + "
        "electrodes) more likelihoods for each window",
    )
    parser.add_argument(
        "--attribution-trials",
        type=int,
        default=20,
        help="windows of each set that --attribution takes (default %(default)s)",
    )
    parser.add_argument(
        "--network",
        type=Path | None,
        help="TorchScript file of the network whose features pictures are compared by (default: an installed one)",
    )
    parser.add_argument("--device", type=str, default="cpu", help="cpu, cuda ... (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report; an earlier one is replaced")
    return parser


def tokenizer_parser() -> ArgumentParser:
    """The command line of an EEG tokenizer's report."""
    parts = ["fidelity", "robustness", "retention", "curve", "codecs", "identity"]
    parser = ArgumentParser(
        prog="evaluate.py tokenizer",
        exit_on_error=False,
        formatter_class=RawDescriptionHelpFormatter,
        description="What an EEG tokenizer keeps, what moves its ids, and what they tell, beside simpler codecs.",
    )
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer folder")
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="folders of sample shards, one per set")
    parser.add_argument(
        "--split",
        type=str,
        default="test",
        help="validation or test; probes are trained on train (default %(default)s)",
    )
    parser.add_argument(
        "--parts", type=str, nargs="+", default=parts, help=f"which of {', '.join(parts)} (default all)"
    )
    parser.add_argument(
        "--limit", type=int | None, default=200, help="windows per set, balanced; null takes all (default %(default)s)"
    )
    parser.add_argument(
        "--recordings", type=Path, nargs="+", default=[], help="raw files of 500 Hz or more: do ids depend on the rate?"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of windows drawn, dropped channels, probes and bootstrap (default %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    return parser


def baselines_parser() -> ArgumentParser:
    """The command line of the field's methods."""
    schemes = ["recipe", "in-subject", "leave-one-subject-out", "recording-out", "session-out", "picture-out"]
    parser = ArgumentParser(
        prog="evaluate.py baselines",
        exit_on_error=False,
        formatter_class=RawDescriptionHelpFormatter,
        description="What the methods of the field make of sample shards, beside their controls, under several splits.",
    )
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="folders of sample shards, one per set")
    parser.add_argument(
        "--split", type=str, default="validation", help="which is asked about: validation or test (default %(default)s)"
    )
    parser.add_argument(
        "--schemes", type=str, nargs="+", default=["recipe"], help=f"which of {', '.join(schemes)} (default recipe)"
    )
    parser.add_argument(
        "--limit", type=int | None, default=200, help="windows asked about, balanced; null takes all (default 200)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of windows drawn, folds, networks and bootstrap")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report; an earlier one is replaced")
    return parser


def compare_parser() -> ArgumentParser:
    """The command line of a comparison."""
    parser = ArgumentParser(
        prog="evaluate.py compare",
        exit_on_error=False,
        formatter_class=RawDescriptionHelpFormatter,
        description="Which numbers of report B differ from report A beyond their intervals; paired where both\n"
        "were made on the same windows.",
    )
    parser.add_argument("first", type=Path, metavar="REPORT_A", help="a folder that evaluate.py wrote")
    parser.add_argument("second", type=Path, metavar="REPORT_B", help="another one")
    parser.add_argument("--out", type=Path | None, default=None, help="folder for comparison.html, .md and .json")
    return parser


def seeds_parser() -> ArgumentParser:
    """The command line of reports of retrained models."""
    return _reports_parser(
        "seeds",
        "How far the numbers of models lie apart that were trained in the same way from other seeds:\n"
        "their mean, their spread, and whether they lie within the interval of the first.",
    )


def folds_parser() -> ArgumentParser:
    """The command line of reports of cross-validation."""
    return _reports_parser(
        "folds",
        "The reports of cross-validation over recordings (prepare.py samples --fold) read as one: numbers\n"
        "of every recording by a model that never saw it, with intervals over recordings.",
    )


def _reports_parser(name: str, description: str) -> ArgumentParser:
    """The command line of what reads several reports."""
    parser = ArgumentParser(
        prog=f"evaluate.py {name}",
        exit_on_error=False,
        formatter_class=RawDescriptionHelpFormatter,
        description=description,
    )
    parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help="folders that evaluate.py wrote")
    parser.add_argument("--out", type=Path | None, default=None, help=f"folder for {name}.html, .md and .json")
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
    """Run the command that the first word names; without one, evaluate a model."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and not argv[0].startswith("-"):
        if argv[0] not in COMMANDS:
            raise ConfigError(f"{argv[0]!r} is no command; expected one of {', '.join(COMMANDS)}, or --help")
        COMMANDS[argv[0]].run(argv[1:])
    else:
        evaluate_model(argv)


def evaluate_model(argv: Sequence[str]) -> None:
    """The report of a model."""
    given = parse(model_parser(), argv)
    from neuroleon.evaluation.runner import Evaluation, evaluate_folder  # after the flags: it loads torch
    from neuroleon.evaluation.words import estimate, in_words

    values = {f.name: getattr(given, f.name) for f in fields(Evaluation)}
    values |= {name: tuple(values[name]) for name in ("samples", "tasks", "before_samples")}
    settings = Evaluation(**values)
    report = evaluate_folder(given.model, settings, given.out, given.device)
    for result in report.sets:
        if result.audit.confounded:
            print(f"{result.recipe}: {result.audit.confounded}")
        for task in result.tasks:
            if c := task.primary:
                real, shuffled = (estimate(c.conditions[name], c.unit) for name in ("real", "shuffled"))
                print(f"{result.recipe} {task.task}: {c.metric}: real {real}, shuffled {shuffled}: {in_words(c)}")
    print(f"report: {given.out / 'report.html'}")


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


def evaluate_baselines(argv: Sequence[str]) -> None:
    """The field's methods on sets of samples."""
    given = parse(baselines_parser(), argv)
    from neuroleon.evaluation.baselines.page import write_baselines
    from neuroleon.evaluation.baselines.run import Baselines, baselines
    from neuroleon.evaluation.ledger import USES, Ledger
    from neuroleon.evaluation.report import require_free

    require_free(given.out)
    ledger = Ledger(None) if given.split == "test" else None
    found = []
    for folder in given.samples:
        try:
            found.append(baselines(folder, given.split, given.schemes, given.limit, given.seed))
        except DataError as error:  # the other sets, whose fits took minutes, are not lost
            found.append(Baselines(recipe=folder.name, shards="", results=(), left_out=(str(error),)))
    if not any(one.results for one in found):
        raise DataError("; ".join(reason for one in found for reason in one.left_out))
    facts = {name: getattr(given, name) for name in ("split", "schemes", "limit", "seed")}
    if ledger:
        made = {name: facts[name] for name in ("schemes", "limit", "seed")}
        facts[USES] = ledger.write("baselines", [(one.recipe, one.shards) for one in found if one.results], made)
    write_baselines(found, facts, given.out)
    print(f"report: {given.out / 'report.html'}")


def compare_reports(argv: Sequence[str]) -> None:
    """Two reports side by side."""
    given = parse(compare_parser(), argv)
    from neuroleon.evaluation.compare import compare_folders, page_of

    show("comparison", partial(compare_folders, given.first, given.second), page_of, given.out)


def seeds_of_reports(argv: Sequence[str]) -> None:
    """Reports of models that differ in their seed."""
    given = parse(seeds_parser(), argv)
    from neuroleon.evaluation.seeds import over_seeds, page_of

    show("seeds", partial(over_seeds, given.reports), page_of, given.out)


def folds_of_reports(argv: Sequence[str]) -> None:
    """Reports of models that were tested on other recordings each."""
    given = parse(folds_parser(), argv)
    from neuroleon.evaluation.folds import over_folds, page_of

    show("folds", partial(over_folds, given.reports), page_of, given.out)


def show(stem: str, find: Callable[[], Any], page_of: Callable[[Any], Sequence[Any]], out: Path | None) -> None:
    """Print what is found in several reports, and write it where that is wanted."""
    from neuroleon.evaluation.page import as_markdown
    from neuroleon.evaluation.report import require_free, write_findings

    if out is not None:
        require_free(out, f"{stem}.json")
    found = find()
    blocks = page_of(found)
    print(as_markdown(blocks), end="")
    if out is not None:
        write_findings(found, stem, blocks, out)
        print(f"\n{stem}: {out / f'{stem}.html'}")


@dataclass(frozen=True)
class Command:
    """What a first word on the command line does."""

    run: Callable[[Sequence[str]], None]
    summary: str


COMMANDS = {
    "model": Command(evaluate_model, "a model beside its controls (as without a command)"),
    "tokenizer": Command(evaluate_tokenizer, "what an EEG tokenizer keeps, beside simpler codecs"),
    "baselines": Command(evaluate_baselines, "the methods of the field on the same sets, under several splits"),
    "compare": Command(compare_reports, "two reports of models: what got better or worse beyond the intervals"),
    "seeds": Command(seeds_of_reports, "reports of models trained in the same way from other seeds: mean and spread"),
    "folds": Command(folds_of_reports, "reports of cross-validation over recordings, read as one"),
}


if __name__ == "__main__":
    main()
