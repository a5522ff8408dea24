"""What the tests of readers share, whose public sets are made small here: a run of our recipe, and a photograph."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.samples import Report, prepare_samples
from neuroleon.data_pipeline.shards import ShardReader


def prepare(name: str, root: Path) -> tuple[Report, dict[str, list[dict[str, Any]]]]:
    recipe = replace(load_recipe(name), checksums={})  # what is made here has none of the published bytes
    report = prepare_samples(recipe, root, root / "out")
    return report, {split: list(ShardReader(root / "out" / name, split)) for split in ("train", "validation", "test")}


def picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 100), (grey, grey, grey)).save(path, "JPEG")
