"""Lists of published checksums beside a recipe: what is other than published is not read, and said to be."""

import hashlib
from pathlib import Path

import pytest
from own_set import prepare, write_edf

from neuroleon.common.errors import ConfigError
from neuroleon.data_pipeline.checksums import read_checksums
from neuroleon.data_pipeline.recipe import RECIPES, load_recipe

NAMES = ("anna_1.edf", "ben_1.edf", "carla_1.edf")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "eeg").mkdir()
    for seed, name in enumerate(NAMES):
        write_edf(tmp_path / "eeg" / name, seed)
    return tmp_path


def publish(own: Path, kind: str, names: tuple[str, ...], mark: str = " ") -> None:
    lines = [f"{hashlib.new(kind, (own / 'eeg' / name).read_bytes()).hexdigest()} {mark}{name}\n" for name in names]
    (own / f"own.{kind}").write_text("".join(lines))


@pytest.mark.parametrize(("kind", "mark"), [("md5", " "), ("sha256", "*")])
def test_files_that_are_listed_are_checked(own: Path, kind: str, mark: str) -> None:
    before = prepare(own)
    publish(own, kind, NAMES[:2], mark)
    report = prepare(own)
    assert report.samples == before.samples
    assert report.skipped_tasks == 0, "a list that came since is a reason to look again"
    assert report.notes["recording or picture whose files have the published checksums"] == 2
    assert prepare(own).skipped_tasks == 3


def test_a_file_with_other_bytes_is_not_read(own: Path) -> None:
    publish(own, "sha256", NAMES)
    path = own / "eeg" / NAMES[0]
    content = bytearray(path.read_bytes())
    content[-300] ^= 1  # one bit of a sample: still a readable recording
    path.write_bytes(content)
    report = prepare(own)
    assert report.samples["train"] == 0
    (failure,) = report.failures
    expected = (own / "own.sha256").read_text().split()[0]
    for part in (str(path), hashlib.sha256(content).hexdigest(), expected, "fetch it again"):
        assert part in failure.message


@pytest.mark.parametrize("line", ["abc  a.edf", "0" * 64 + "  a.edf", "0" * 32 + "   ", "G" * 32 + "  a.edf"])
def test_a_list_that_is_none_is_refused(own: Path, line: str) -> None:
    (own / "own.md5").write_text(f"{'0' * 32}  b.edf\n{line}\n")
    with pytest.raises(ConfigError, match=r"own\.md5: line 2 .* expected 32 digits"):
        read_checksums(own / "own.yaml")


def test_a_file_comes_once_and_so_does_the_list(own: Path) -> None:
    (own / "own.md5").write_text(f"{'0' * 32}  b.edf\n" * 2)
    with pytest.raises(ConfigError, match="each file once"):
        read_checksums(own / "own.yaml")
    (own / "own.sha256").write_text("")
    with pytest.raises(ConfigError, match="keep one"):
        read_checksums(own / "own.yaml")


def test_lists_that_come_with_the_project_belong_to_recipes_and_name_what_their_readers_read() -> None:
    lists = [path for path in RECIPES.iterdir() if path.suffix in (".md5", ".sha256")]
    assert lists
    for path in lists:
        recipe = load_recipe(path.stem)
        assert recipe.checksums
        suffixes = {Path(name).suffix for name in recipe.checksums}
        assert suffixes <= {".edf", ".set", ".tsv", ".csv", ".vhdr", ".eeg", ".vmrk"}
        assert all(not Path(name).is_absolute() and ".." not in name for name in recipe.checksums)
