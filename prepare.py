"""Prepare data: `prepare.py samples` makes sample shards of recordings, `prepare.py tokens` token shards of those, and
`prepare.py embeddings` vectors of what was seen. `prepare.py index` takes in shards that webdataset wrote, and
`prepare.py check` reads shards whole to find damage."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from neuroleon.common.errors import ConfigError, exit_cleanly
from neuroleon.data_pipeline.launch import Launch, Slurm


def parser() -> ArgumentParser:
    """The command line."""
    samples = ArgumentParser(
        description="Write the sample shards of a recipe; report what was left out, and why.", allow_abbrev=False
    )
    samples.add_argument("--recipe", type=str, required=True, help="one of ours by name, or a .yaml file of your own")
    samples.add_argument("--data", type=Path, required=True, help="folder that holds the data sets")
    samples.add_argument(
        "--key",
        type=Path | None,
        help="a file of 16 bytes or more that keys the pseudonyms of people and recordings; keep it to yourself "
        "(default: the recipe's name is the key, which is right for public sets alone)",
    )
    samples.add_argument(
        "--fold",
        type=int | None,
        help="for cross-validation, of a recipe with split.last_of: K tests the K-th recording before the last",
    )
    tokens = ArgumentParser(description="Tokenize sample shards with trained tokenizers.", allow_abbrev=False)
    tokens.add_argument(
        "--samples",
        type=str,
        nargs="+",
        required=True,
        help="folders that `samples` or `index` wrote, or addresses of some",
    )
    tokens.add_argument("--tokenizers", type=Path, required=True, help="folder with the tokenizers text, image and eeg")
    tokens.add_argument(
        "--variants", type=int, default=4, help="tokenizations of each training window; one is as it is"
    )
    tokens.add_argument("--seed", type=int, default=0, help="of the augmentation")
    tokens.add_argument(
        "--cross-fit",
        type=bool,
        default=True,
        help="make a training window's tokens by what its recording had no part in: as sure as those of new EEG; "
        "false: by what may have been fitted to it, surer",
    )
    for command in (samples, tokens):
        command.add_argument("--out", type=Path, required=True, help="the shards go to OUT/NAME")
        command.add_argument("--on", type=Literal["local", "slurm", "ray"], default="local", help="where tasks run")
        command.add_argument("--workers", type=int, default=1, help="processes, SLURM jobs, or tasks of Ray at a time")
        command.add_argument("--slurm", type=Slurm, default=Slurm(), help="with --on slurm: what a job asks for")
    embeddings = ArgumentParser(
        description="Embed label texts or pictures with a network of transformers, to align the EEG tokenizer with.",
        allow_abbrev=False,
    )
    embeddings.add_argument(
        "--samples", type=str, nargs="+", required=True, help="folders that `samples` wrote, or addresses of some"
    )
    embeddings.add_argument("--of", type=Literal["text", "image"], required=True, help="what is embedded")
    embeddings.add_argument("--model", type=str, required=True, help="a folder or hub id that AutoModel loads")
    embeddings.add_argument("--out", type=Path, required=True, help="the .npz that is written")
    index = ArgumentParser(
        description="Index shards that webdataset or tar wrote: .jpg, .jpeg, .png, .webp, .txt, .json, .npy, .cls.",
        allow_abbrev=False,
    )
    index.add_argument("folder", type=Path, help="where the shards lie; indexes and a manifest are written beside them")
    index.add_argument("--split", type=str, nargs="+", required=True, help="train, validation or test=GLOB, quoted")
    index.add_argument(
        "--require", type=str, nargs="+", default=[], help="suffixes of every sample (default: the first's)"
    )
    index.add_argument("--licence", type=str, default="not stated", help="under which the set may be used")
    check = ArgumentParser(description="Read shards whole; exit with 1 if one is damaged.", allow_abbrev=False)
    check.add_argument("folders", type=str, nargs="+", help="folders of sample or token shards, or addresses of some")
    whole = ArgumentParser(description=__doc__, allow_abbrev=False)
    commands = whole.add_subcommands(dest="command")
    commands.add_subcommand("samples", samples, help="recordings to sample shards")
    commands.add_subcommand("tokens", tokens, help="sample shards to token shards")
    commands.add_subcommand("embeddings", embeddings, help="label texts or pictures of sample shards to vectors")
    commands.add_subcommand("index", index, help="shards of webdataset to sample shards")
    commands.add_subcommand("check", check, help="what is damaged")
    return whole


def _launch(options: Namespace) -> Launch:
    return Launch(on=options.on, workers=options.workers, slurm=Slurm(**options.slurm))


def run_samples(options: Namespace) -> None:
    from neuroleon.data_pipeline.recipe import load_recipe
    from neuroleon.data_pipeline.samples import prepare_samples

    recipe = load_recipe(options.recipe)
    if options.fold is not None:
        try:
            recipe = replace(recipe, split=replace(recipe.split, fold=options.fold))
        except ConfigError as error:
            raise ConfigError(f"--fold, recipe {recipe.name}: {error}") from None
    print(prepare_samples(recipe, options.data, options.out, _launch(options), options.key))


def run_tokens(options: Namespace) -> None:
    from neuroleon.data_pipeline.pretokenize import Tokenizers, tokenize_shards

    tokenizers = Tokenizers.load(options.tokenizers, cross_fit=options.cross_fit)
    settings = {name: options[name] for name in ("variants", "seed")}
    for folder in tokenize_shards(options.samples, tokenizers, options.out, launch=_launch(options), **settings):
        print(folder)


def run_embeddings(options: Namespace) -> None:
    from neuroleon.data_pipeline.embeddings import write_embeddings

    n = write_embeddings(options.samples, options.of, options.model, options.out)
    print(f"{options.out}: {n} embeddings")


def run_index(options: Namespace) -> None:
    from neuroleon.data_pipeline.import_shards import index_shards

    globs: dict[str, list[str]] = {}
    for given in options.split:
        split, is_, pattern = given.partition("=")
        if not is_ or not pattern:
            raise ConfigError(f"--split {given}; expected SPLIT=GLOB, such as 'train=train-*.tar'")
        globs.setdefault(split, []).append(pattern)
    found = index_shards(options.folder, globs, options.require, options.licence)
    print(f"{options.folder}: " + ", ".join(f"{split} {n}" for split, n in found.items()))


def run_check(options: Namespace) -> None:
    from tqdm import tqdm

    from neuroleon.data_pipeline.check import verdicts

    n_damaged = 0
    for shard, error in verdicts(options.folders):
        tqdm.write(f"damaged  {error}" if error else f"whole    {shard}")
        n_damaged += error is not None
    if n_damaged:
        print(f"{n_damaged} damaged", file=sys.stderr)
        raise SystemExit(1)


@exit_cleanly
def main(arguments: list[str] | None = None) -> None:
    chosen = parser().parse_args(arguments)
    options = chosen[chosen.command]
    runs = {"samples": run_samples, "tokens": run_tokens, "embeddings": run_embeddings}
    {**runs, "index": run_index, "check": run_check}[chosen.command](options)


if __name__ == "__main__":
    main()
