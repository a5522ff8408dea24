"""Train a tokenizer or the transformer: train.py STAGE --config configs/NAME.yaml --out DIR [--optim.lr 3e-4 ...].

Run it as it is, or with torchrun for several GPUs. `python train.py STAGE --help` lists every setting of a stage.
"""

import json
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import asdict, fields
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from jsonargparse import ArgumentParser

from neuroleon.common.errors import ConfigError, exit_cleanly
from neuroleon.common.files import MANIFEST

# A stage's module is imported only when it is asked for. The class takes (config, seed); its type hint says which
# dataclass the settings are.
STAGES = {
    "text-tokenizer": "neuroleon.training.stages.text_tokenizer:TextTokenizerStage",
    "image-tokenizer": "neuroleon.training.stages.image_tokenizer:ImageTokenizerStage",
    "eeg-tokenizer": "neuroleon.training.stages.eeg_tokenizer:EEGTokenizerStage",
    "pretrain": "neuroleon.training.stages.transformer:PretrainStage",
    "finetune": "neuroleon.training.stages.transformer:FinetuneStage",
}


def stage_class(name: str) -> Any:
    """The class of a stage.

    Raises:
        ConfigError: no such stage.
    """
    if name not in STAGES:
        raise ConfigError(f"unknown stage {name!r}; the stages are {', '.join(STAGES)}")
    module, _, attribute = STAGES[name].partition(":")
    return getattr(import_module(module), attribute)


def parse(stage: type, argv: Sequence[str]) -> tuple[Any, Any, Any]:
    """Read the command line of a stage.

    Returns:
        The stage's settings, the run's settings (`RunConfig`), and a namespace with out, resume and export.

    Raises:
        ConfigError: an unknown setting, a value of the wrong type, or no --out.
    """
    from neuroleon.training.config import RunConfig

    config_class = get_type_hints(vars(stage)["__init__"])["config"]
    kinds = (config_class,) if issubclass(config_class, RunConfig) else (config_class, RunConfig)
    parser = ArgumentParser(prog="train.py STAGE", exit_on_error=False, allow_abbrev=False, description=stage.__doc__)
    parser.add_argument("--config", action="config", help="a YAML file; flags after it change single settings")
    parser.add_argument("--out", type=Path, required=True, help="run folder: checkpoints, logs, the result in final/")
    parser.add_argument("--resume", default="none", help="none, auto (the newest whole checkpoint of --out), or a path")
    parser.add_argument("--export", type=Path | None, help="where the result goes instead of OUT/final")
    for kind in kinds:
        parser.add_class_arguments(kind)
    try:
        given = parser.instantiate(parser.parse_args(list(argv)))
    except ArgumentError as error:
        raise ConfigError(f"{error}; --help lists the settings") from None
    config, run = (kind(**{f.name: given[f.name] for f in fields(kind)}) for kind in (config_class, RunConfig))
    return config, run, given


@exit_cleanly
def main(argv: Sequence[str] | None = None) -> None:
    """Train a stage to its end and write its tokenizer or model folder."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(f"{__doc__}\nstages: {', '.join(STAGES)}")
        return
    kind = stage_class(argv[0])
    config, run, given = parse(kind, argv[1:])
    final = given.export or given.out / "final"
    if final.exists() and not (final / MANIFEST).is_file() and (not final.is_dir() or any(final.iterdir())):
        raise ConfigError(f"{final}: holds something that is no trained folder and would be replaced; give another")
    stage = kind(config, run.seed)
    if argv[0] == "text-tokenizer":  # counts pairs instead of following a gradient
        stage.fit(final)
        return
    from neuroleon.training.loop import Trainer

    settings = json.loads(json.dumps({"stage": argv[0], **asdict(config), **asdict(run)}, default=str))  # paths as text
    Trainer(stage, run, given.out, settings=settings, resume=given.resume).run(final)


if __name__ == "__main__":
    main()
