"""Every shard of some folders, read whole: which ones are damaged, and how."""

from collections.abc import Iterator, Sequence

from tqdm import tqdm

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.shard_table import read_manifest, shards_of
from neuroleon.data_pipeline.storage import Folder, Location


def verdicts(locations: Sequence[Location]) -> Iterator[tuple[str, DataError | None]]:
    """(path or address of a shard, what is wrong with it or None) for every shard of the folders.

    Raises:
        DataError: a folder has no manifest, or one that cannot be.
        ConfigError: an address of a kind that is not read.
    """
    folders = [Folder.at(location) for location in locations]
    shards = [shard for folder in folders for shard in shards_of(folder, read_manifest(folder))]
    for shard in tqdm(shards, unit="shard", desc="check"):
        try:
            shard.table(shard.path())
        except DataError as error:
            yield shard.where, error
        else:
            yield shard.where, None
