"""Prepare data: `prepare.py samples` makes sample shards of recordings, `prepare.py tokens` token shards of those, and
`prepare.py embeddings` vectors of what was seen."""

from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from neuroleon.common.errors import exit_cleanly
from neuroleon.data_pipeline.launch import Launch, Slurm


def parser() -> ArgumentParser:
    """The command line."""
    samples = ArgumentParser(
        description="Write the sample shards of a recipe; report what was left out, and why.", allow_abbrev=False
    )
    samples.add_argument("--recipe", type=str, required=True, help="one of ours by name, or a .yaml file of your own")
    samples.add_argument("--data", type=Path, required=True, help="folder that holds the data sets")
    tokens = ArgumentParser(description="Tokenize sample shards with trained tokenizers.", allow_abbrev=False)
    tokens.add_argument("--samples", type=Path, nargs="+", required=True, help="folders that `samples` wrote: OUT/NAME")
    tokens.add_argument("--tokenizers", type=Path, required=True, help="folder with the tokenizers text, image and eeg")
    tokens.add_argument(
        "--variants", type=int, default=4, help="tokenizations of each training window; one is as it is"
    )
    tokens.add_argument("--seed", type=int, default=0, help="of the augmentation")
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
        "--samples", type=Path, nargs="+", required=True, help="folders that `samples` wrote: OUT/NAME"
    )
    embeddings.add_argument("--of", type=Literal["text", "image"], required=True, help="what is embedded")
    embeddings.add_argument("--model", type=str, required=True, help="a folder or hub id that AutoModel loads")
    embeddings.add_argument("--out", type=Path, required=True, help="the .npz that is written")
    whole = ArgumentParser(description=__doc__, allow_abbrev=False)
    commands = whole.add_subcommands(dest="command")
    commands.add_subcommand("samples", samples, help="recordings to sample shards")
    commands.add_subcommand("tokens", tokens, help="sample shards to token shards")
    commands.add_subcommand("embeddings", embeddings, help="label texts or pictures of sample shards to vectors")
    return whole


def _launch(options: Namespace) -> Launch:
    return Launch(on=options.on, workers=options.workers, slurm=Slurm(**options.slurm))


def run_samples(options: Namespace) -> None:
    from neuroleon.data_pipeline.recipe import load_recipe
    from neuroleon.data_pipeline.samples import prepare_samples

    print(prepare_samples(load_recipe(options.recipe), options.data, options.out, _launch(options)))


def run_tokens(options: Namespace) -> None:
    from neuroleon.data_pipeline.pretokenize import Tokenizers, tokenize_shards

    tokenizers = Tokenizers.load(options.tokenizers)
    settings = {name: options[name] for name in ("variants", "seed")}
    for folder in tokenize_shards(options.samples, tokenizers, options.out, launch=_launch(options), **settings):
        print(folder)


def run_embeddings(options: Namespace) -> None:
    from neuroleon.data_pipeline.embeddings import write_embeddings

    n = write_embeddings(options.samples, options.of, options.model, options.out)
    print(f"{options.out}: {n} embeddings")


@exit_cleanly
def main(arguments: list[str] | None = None) -> None:
    chosen = parser().parse_args(arguments)
    options = chosen[chosen.command]
    {"samples": run_samples, "tokens": run_tokens, "embeddings": run_embeddings}[chosen.command](options)


if __name__ == "__main__":
    main()
