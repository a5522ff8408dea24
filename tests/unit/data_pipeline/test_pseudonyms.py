"""Pseudonyms: stable, keyed by the recipe's name, and by a secret of the user's where there is one."""

import json
from dataclasses import replace
from pathlib import Path

import edfio
import numpy as np
import pytest
import yaml
from PIL import Image

from neuroleon.common.errors import ConfigError
from neuroleon.common.files import sha256_file
from neuroleon.data_pipeline.pairing import Pairing
from neuroleon.data_pipeline.pseudonyms import Pseudonyms, read_secret
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.samples import prepare_samples
from neuroleon.data_pipeline.samples_report import Report
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.prepare import main

NAMES = ("anna_1", "anna_2", "anna_3", "anna_4", "anna_5", "anna_6", "ben_1", "carla_1")
RECIPE = {
    "name": "own",
    "title": "A data set of my own",
    "licence": "CC0-1.0",
    "citation": "none",
    "source": {"reader": "mne", "folder": "eeg", "options": {"files": "*.edf", "pattern": r"(?P<subject>\w+)_\d"}},
    "windows": [{"duration_s": 1.0}],
    "labels": {"map": {"look": "look"}},
    "split": {"by": "subject", "train": ["anna*"], "validation": ["ben"], "test": ["carla"]},
    "picture": {"kind": "none"},
}


def write_edf(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    signals = [
        edfio.EdfSignal(10 * rng.normal(size=2560), 256.0, label=name, physical_dimension="uV")
        for name in ("Fz", "Cz", "Pz", "O1", "O2")
    ]
    edfio.Edf(signals, annotations=[edfio.EdfAnnotation(2.0, None, "look")]).write(path)


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def key_file(folder: Path, content: bytes = b"0123456789abcdef") -> Path:
    (folder / "key").write_bytes(content)
    return folder / "key"


def test_shards_that_are_there_keep_their_names() -> None:
    assert Pseudonyms("cvep20")("Anna", "s") == "s1f7a31539664"
    assert Pseudonyms("ssvep40")("Anna", "s") != "s1f7a31539664"
    assert Pseudonyms("cvep20")("", "g") == ""
    assert len({Pseudonyms("cvep20")(str(i), "s") for i in range(1000)}) == 1000


def test_a_secret_makes_other_names_and_is_not_told(tmp_path: Path) -> None:
    one = Pseudonyms("cvep20", read_secret(key_file(tmp_path)))
    same = Pseudonyms("cvep20", read_secret(key_file(tmp_path, b"\n 0123456789abcdef \n")))
    other = Pseudonyms("cvep20", read_secret(key_file(tmp_path, b"0123456789abcdeF")))
    recipe = Pseudonyms("ssvep40", one.secret)
    names = [each("Anna", "s") for each in (one, same, other, recipe, Pseudonyms("cvep20"))]
    assert names[0] == names[1]
    assert len(set(names)) == 4
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert "0123456789abcdef" not in repr(one)
    assert one.secret.hex() not in repr(one) + one.fingerprint


@pytest.mark.parametrize("content", [b"", b"0123456789abcde", b" " * 40])
def test_a_short_or_absent_key_is_refused_before_any_work(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["samples", "--recipe", "cvep20", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    for path in (key_file(tmp_path, content), tmp_path / "nowhere", tmp_path):
        with pytest.raises(ConfigError, match=r"--key .*token_hex"):
            read_secret(path)
        with pytest.raises(SystemExit):
            main([*arguments, "--key", str(path)])
        assert "token_hex" in capsys.readouterr().err


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings and `own.yaml`."""
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "eeg").mkdir()
    for seed, name in enumerate(NAMES):
        write_edf(folder / "eeg" / f"{name}.edf", seed)
    (folder / "own.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


def prepare(root: Path, out: str, key: Path | None) -> Report:
    return prepare_samples(load_recipe(root / "own.yaml"), root, root / out, key=key)


def test_shards_of_a_key_share_no_name_with_others_and_say_so(root: Path, tmp_path: Path) -> None:
    keys = [None, key_file(tmp_path)]
    reports = [prepare(root, out, key) for out, key in zip(("plain", "keyed"), keys, strict=True)]
    assert [report.pseudonyms for report in reports] == ["recipe", "keyed"]
    assert "give --key" in str(reports[0])
    assert "give --key" not in str(reports[1])
    folders = [root / out / "own" for out in ("plain", "keyed")]
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in folders]
    assert [manifest["pseudonyms"] for manifest in manifests] == ["recipe", "keyed"]
    found = []
    for folder in folders:
        told = [record["json"] for split in ("train", "validation", "test") for record in ShardReader(folder, split)]
        found.append({one[name] for one in told for name in ("subject", "recording")})
    assert len(found[0]) == len(found[1]) == 3 + len(NAMES)
    assert not found[0] & found[1]
    secret = read_secret(keys[1])
    for path in folders[1].rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [word for word in (b"0123456789abcdef", secret, secret.hex().encode()) if word in content], path


def test_the_order_in_a_shard_does_not_tell_the_order_of_the_names(root: Path, tmp_path: Path) -> None:
    """Else a list of the names, sorted, would undo the pseudonyms without the key."""
    key = key_file(tmp_path)
    prepare(root, "ordered", key)
    pseudonyms = Pseudonyms("own", read_secret(key))
    stored = list(dict.fromkeys(one["json"]["recording"] for one in ShardReader(root / "ordered" / "own", "train")))
    by_name = [pseudonyms(name, "r") for name in NAMES if name.startswith("anna")]
    assert stored == sorted(by_name) != by_name


def test_another_key_makes_all_anew_and_the_same_key_nothing(root: Path, tmp_path: Path) -> None:
    key = key_file(tmp_path)
    assert prepare(root, "again", key).skipped_tasks == 0
    first = digests(root / "again" / "own")
    assert prepare(root, "again", key).skipped_tasks == 3
    assert prepare(root, "again", key_file(tmp_path, b"another key, which is long")).skipped_tasks == 0
    assert prepare(root, "again", None).skipped_tasks == 0
    assert prepare(root, "again", key_file(tmp_path)).skipped_tasks == 0
    assert digests(root / "again" / "own") == first


def test_pictures_go_by_the_key_too(root: Path, tmp_path: Path) -> None:
    recipe = load_recipe(root / "own.yaml")
    recipe = replace(recipe, picture=replace(recipe.picture, kind="own", draw=None, parameters={}))
    Image.new("RGB", (64, 64)).save(tmp_path / "anna.png")
    shown = [Pairing(recipe, tmp_path, secret).picture(None, {"image": "anna.png"}, "k") for secret in (b"", b"s" * 64)]
    assert len({picture.key for picture in shown if picture}) == 2
