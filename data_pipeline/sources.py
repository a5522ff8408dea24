"""What lies in a data set, before any signal is prepared: its recordings, and the files that each of them needs."""

from collections.abc import Iterator
from pathlib import Path

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import Failure, Located, located, source_of
from neuroleon.data_pipeline.readers.pictures import PictureTar
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.data_pipeline.recipe import Recipe
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.recording import Recording


def survey(recipe: Recipe, folder: Path) -> tuple[list[Located], list[Failure]]:
    """Every recording of a recipe's source below `folder`, and the files that cannot even be listed.

    Raises:
        ConfigError: there is no such reader, or one of its options is unknown, missing or not well formed.
        DataError: the folder is absent, or a file that all recordings depend on cannot be read.
    """
    options = recipe.source.options
    if recipe.source.reader not in (*READERS, "pictures"):
        raise ConfigError(f"source.reader is {recipe.source.reader!r}; expected one of {', '.join(READERS)}, pictures")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; --data is the folder that holds {recipe.source.folder}")
    if recipe.source.reader == "pictures":
        tar = PictureTar(folder, options)
        files = (tar.path, *(folder / options[name] for name in ("classes",) if name in options))
        sources = [Source(recording=name, subject="", group=group) for name, group in sorted(tar.groups.items())]
        return [located(source, options, *files) for source in sources], []
    reader = READERS[recipe.source.reader]
    if reader.locate is not None:
        found = list(reader.locate(folder, options))
        return [x for x in found if isinstance(x, Located)], [x for x in found if isinstance(x, Failure)]
    whole = [folder / options["file"]] if "file" in options else sorted(p for p in folder.iterdir() if p.is_file())
    return [located(source_of(recording), options, *whole) for recording in reader.read(folder, options)], []


def read(recipe: Recipe, folder: Path, one: Located) -> Iterator[Recording]:
    """The recordings that the options of a `Located` yield: its own, and those that come from the same file."""
    return READERS[recipe.source.reader].read(folder, dict(one.options))
