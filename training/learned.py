"""What recordings a stage read, for the folder that it exports."""

from collections import defaultdict
from collections.abc import Iterable

from neuroleon.common.learned import Learned
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.storage import Location


def learned_from(samples: Iterable[Location]) -> Learned:
    """The recordings in the training and validation splits of folders of sample shards; pictures alone have none.

    Raises:
        DataError: a damaged shard.
    """
    found: dict[str, dict[str, set[str]]] = {split: defaultdict(set) for split in ("train", "validation")}
    for location in samples:
        for split, of_split in found.items():
            for record in ShardReader(location, split):
                info = record["json"]
                if "npy" in record:
                    of_split[info["recipe"]].add(f"{info['subject']}/{info['recording']}")
    return Learned(**{split: {k: frozenset(v) for k, v in of_split.items()} for split, of_split in found.items()})
