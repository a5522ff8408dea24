"""Prepare data: `prepare.py samples` turns recordings into sample shards, `prepare.py tokens` turns those into token shards."""

from pathlib import Path

from neuroleon.common.errors import ConfigError, exit_cleanly


def samples(recipe: str, data: Path, out: Path, workers: int = 1) -> None:
    """Write the sample shards of a recipe and report what was read, and what was left out and why.

    Args:
        recipe: one of our recipes by name, or a .yaml file of your own.
        data: folder that holds the data sets.
        out: the shards go to OUT/NAME.
        workers: processes.
    """
    from neuroleon.data_pipeline.recipe import load_recipe
    from neuroleon.data_pipeline.samples import prepare_samples

    print(prepare_samples(load_recipe(recipe), data, out, _at_least_one(workers)))


def tokens(samples: list[Path], tokenizers: Path, out: Path, variants: int = 4, seed: int = 0, workers: int = 1) -> None:
    """Tokenize sample shards with trained tokenizers.

    Args:
        samples: folders that `prepare.py samples` wrote, each OUT/NAME.
        tokenizers: folder with the tokenizers `text`, `image` and `eeg`.
        out: the shards go to OUT/NAME.
        variants: tokenizations of each training window; the first is of the window as it is, the others are augmented.
        seed: of the augmentation.
        workers: processes.
    """
    from neuroleon.data_pipeline.pretokenize import Tokenizers, tokenize_shards

    loaded = Tokenizers.load(tokenizers)
    folders = tokenize_shards(samples, loaded, out, variants=variants, seed=seed, workers=_at_least_one(workers))
    print("\n".join(str(folder) for folder in folders))


def _at_least_one(workers: int) -> int:
    if workers < 1:
        raise ConfigError(f"--workers {workers}; expected at least 1")
    return workers


@exit_cleanly
def main() -> None:
    from jsonargparse import CLI

    CLI([samples, tokens], as_positional=False)


if __name__ == "__main__":
    main()
