import json
import pickle
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from neuroleon.common.errors import DataError
from neuroleon.common.pictures import centre_square
from neuroleon.data_pipeline.augment import augment
from neuroleon.data_pipeline.import_shards import index_shards
from neuroleon.data_pipeline.launch import Launch
from neuroleon.data_pipeline.loader import DocumentConfig, DocumentSource, TokenFolder
from neuroleon.data_pipeline.members import encode
from neuroleon.data_pipeline.pretokenize import Tokenizers, _opened, _tasks, tokenize_shards, variants_of
from neuroleon.data_pipeline.shards import ShardReader, shard_path, write_manifest, write_shard
from neuroleon.prepare import main as prepare_cli
from neuroleon.signals.montage import electrode_positions
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.cross_fit import CrossFit
from neuroleon.tokenizers.eeg.evidence import Evidence
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer
from neuroleon.tokenizers.image import ImageTokenizer
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.text import TextTokenizer
from neuroleon.tokenizers.vocabulary import Vocabulary
from neuroleon.tokenizers.vqgan import VQGAN, VQGANConfig

CVEP = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "cvep20" / "cvep20.npz"
SIDE = 16
QUESTION = "Which key was looked at?"


@pytest.fixture(scope="module")
def tokenizers() -> Tokenizers:
    """Real ones, small and untrained: what is asked here does not hang on how well they were trained."""
    torch.manual_seed(0)
    eeg = EEGTokenizerConfig(dim=32, heads=2, encoder_layers=1, decoder_layers=1, levels=4, codes=16, code_dim=8)
    network = EEGNetwork(eeg)
    torch.nn.init.normal_(network.encoder.to_waveform.weight, std=0.2)  # latents as large as the codes that follow
    network.quantizer(torch.randn(256, eeg.latent_dim), torch.full((256,), eeg.levels))  # the codebooks start there
    image = VQGANConfig(resolution=SIDE, ch=32, z_channels=32, codebook_size=16, code_dim=8)
    return Tokenizers(
        text=TextTokenizer.train(["the key A", "the key B", QUESTION], 300),
        image=ImageTokenizer(VQGAN(image), torch.randn(16, 8)),
        eeg=EEGTokenizer(eeg, Preprocess(), network),
    )


@pytest.fixture(scope="module")
def trials() -> list[dict]:
    """Six real trials, 2 s each, at 200 Hz, as `prepare.py samples` stores them."""
    if not CVEP.is_file():
        pytest.skip("the shared data is absent")
    with np.load(CVEP) as data:
        eeg_uV = data["x"][:6].astype(np.float32) * data["scale_uv"]
        labels, ch_names = data["label"][:6].tolist(), data["ch"].tolist()
    eeg_uV = resample_poly(eeg_uV, 5, 6, axis=-1)[..., :400]
    scale_uV = float(np.diff(np.percentile(eeg_uV, [25, 75]))[0] / 1.349)
    rng = np.random.default_rng(0)
    return [
        {
            "__key__": f"trial-{i}",
            "npy": np.clip(eeg_uV[i] / scale_uV, -15, 15).astype(np.float16),
            "png": rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8),
            "json": {
                "recipe": "keys", "subject": "s1", "ch_names": ch_names, "sfreq": 200.0, "scale_uV": scale_uV,
                "positions": electrode_positions(ch_names).tolist(), "background": [0.5] * 45, "question": QUESTION,
                "label": labels[i], "texts": [f"the key {labels[i]}", labels[i]], "label_text": labels[i],
            },
        }
        for i in range(6)
    ]  # fmt: skip


def write_samples(folder: Path, records: list[dict], n_train: int = 4) -> Path:
    """Two shards of training samples, one of validation."""
    for split, number, part in (
        ("train", 0, records[: n_train // 2]),
        ("train", 1, records[n_train // 2 : n_train]),
        ("validation", 0, records[n_train:]),
    ):
        write_shard(shard_path(folder, split, number), part)
    write_manifest(folder, licence="BSD-3")
    return folder


@pytest.fixture(scope="module")
def tokens(trials: list[dict], tokenizers: Tokenizers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("keys")
    [folder] = tokenize_shards(
        [write_samples(root / "samples" / "keys", trials)], tokenizers, root / "tokens", variants=3
    )
    return folder


def test_variant_0_is_the_clean_window(tokens: Path, trials: list[dict], tokenizers: Tokenizers) -> None:
    folder = TokenFolder(tokens, "train", tokenizers.vocabulary)
    info = trials[1]["json"]
    window = Window(
        trials[1]["npy"].astype(np.float32) * np.float32(info["scale_uV"]),
        tuple(info["ch_names"]),
        np.array(info["positions"], np.float32),
        info["scale_uV"],
    )
    [expected] = tokenizers.eeg.encode_windows([window])
    span = folder[1].span("eeg", TASKS["eeg2image"])
    assert span.ids_local.tolist() == expected.ids.tolist()
    assert span.scale == expected.scale
    assert folder[1].info["eeg"]["steps"] == 16


def test_training_records_have_variants_and_others_only_the_clean_one(tokens: Path, tokenizers: Tokenizers) -> None:
    for split, n_records, n_variants in (("train", 4, 3), ("validation", 2, 1), ("test", 0, 0)):
        folder = TokenFolder(tokens, split, tokenizers.vocabulary)
        assert len(folder) == n_records
        for i in range(n_records):
            spans = [folder[i].span("eeg", TASKS["eeg"], variant=v).ids_local.tolist() for v in range(n_variants)]
            assert folder[i].n_variants == n_variants == len({tuple(ids) for ids in spans})
            assert {len(ids) for ids in spans} == {16 * 4}


def test_records_hold_every_modality_and_the_facts(tokens: Path, trials: list[dict], tokenizers: Tokenizers) -> None:
    folder = TokenFolder(tokens, "validation", tokenizers.vocabulary)
    for i, trial in enumerate(trials[4:]):
        record, info = folder[i], trial["json"]
        label, caption = (record.span("text", TASKS[t]).ids_local for t in ("eeg2label", "eeg2text"))
        other = record.span("text", TASKS["eeg2text"], text=1).ids_local
        texts = tokenizers.text.decode([label, caption, other, record.question])
        assert texts == [info["label_text"], *info["texts"], QUESTION]
        picture = record.span("image", TASKS["image"]).ids_local
        assert picture.tolist() == tokenizers.image.encode(trial["png"][None])[0].tolist()
        assert record.info["sample"] == trial["__key__"]
        assert (record.info["subject"], record.info["label"]) == ("s1", info["label"])
        assert not {"positions", "background"} & set(record.info)
    manifest = json.loads((tokens / "manifest.json").read_text())
    assert manifest["samples"] == {"licence": "BSD-3"}
    assert manifest["vocabulary"] == Vocabulary.load(tokens / "vocabulary.json").fingerprint


def test_a_trial_is_tokenized_by_what_was_fitted_without_it(
    trials: list[dict], tokenizers: Tokenizers, tmp_path: Path
) -> None:
    """Its every variant, by any worker, whether it is named or its recording; trials of no fold, and of other splits,
    by the tokenizer of all."""
    folds = tuple(_reading_otherwise(tokenizers.eeg, seed) for seed in (1, 2))
    for i, trial in enumerate(trials := deepcopy(trials)):
        trial["json"]["recording"] = f"r{i // 2}"
    samples = write_samples(tmp_path / "samples", trials)
    fold_of = {"trial-0": 1, "trial-1": 0, "r1": 1, "trial-3": 0, "r2": 0}  # r2 is of another split
    split = ShardReader(samples, "train").fingerprint
    given = replace(tokenizers, cross_fit=CrossFit(folds, {split: fold_of, "another": {"trial-4": 0}}))
    (here,) = tokenize_shards([samples], given, tmp_path / "here", variants=2)
    (elsewhere,) = tokenize_shards([samples], given, tmp_path / "there", variants=2, launch=Launch(workers=2))
    records = {r["__key__"]: r for name in ("train", "validation") for r in ShardReader(here, name)}
    again = {r["__key__"]: r for name in ("train", "validation") for r in ShardReader(elsewhere, name)}
    assert len(records) == len(again) == len(trials)
    told_apart = set()
    for trial in trials:
        key = trial["__key__"]
        np.testing.assert_array_equal(records[key]["npy"], again[key]["npy"])
        fold = {"trial-0": 1, "trial-1": 0, "trial-2": 1, "trial-3": 0}.get(key)
        maker = tokenizers.eeg if fold is None else folds[fold]
        spans = records[key]["json"]["eeg"]["variants"]
        for window, (start, stop, _) in zip(variants_of(trial, len(spans), 0), spans, strict=True):
            found = records[key]["npy"][start:stop]
            np.testing.assert_array_equal(found, maker.encode_windows([window])[0].ids)
            if not np.array_equal(found, tokenizers.eeg.encode_windows([window])[0].ids):
                told_apart.add(key)
    assert told_apart == {"trial-0", "trial-1", "trial-2", "trial-3"}
    with pytest.raises(DataError, match="another cross_fit"):
        tokenize_shards([samples], tokenizers, tmp_path / "here", variants=2)


def test_tokens_as_sure_as_of_new_eeg_or_surer(trials: list[dict], tokenizers: Tokenizers, tmp_path: Path) -> None:
    """`--cross-fit false`: every trial is read by what was fitted to it; without it, by what was not."""
    samples = write_samples(tmp_path / "samples", trials)
    fold = _reading_otherwise(tokenizers.eeg, 1)
    fold_of = {ShardReader(samples, "train").fingerprint: {f"trial-{i}": 0 for i in range(4)}}
    replace(tokenizers, cross_fit=CrossFit((fold,), fold_of)).save(tmp_path / "tokenizers")
    command = ["tokens", "--samples", str(samples), "--tokenizers", str(tmp_path / "tokenizers"), "--variants", "1"]
    prepare_cli([*command, "--out", str(tmp_path / "sure"), "--cross-fit", "false"])
    prepare_cli([*command, "--out", str(tmp_path / "as-sure-as-new")])
    for name, maker in (("sure", tokenizers.eeg), ("as-sure-as-new", fold)):
        records = {record["__key__"]: record["npy"] for record in ShardReader(tmp_path / name / samples.name, "train")}
        for trial in trials[:4]:
            ids = maker.encode_windows(variants_of(trial, 1, 0))[0].ids
            np.testing.assert_array_equal(records[trial["__key__"]][: ids.size].reshape(ids.shape), ids)


def _reading_otherwise(tokenizer: EEGTokenizer, seed: int) -> EEGTokenizer:
    evidence = Evidence(tokenizer.config)
    torch.manual_seed(seed)
    torch.nn.init.normal_(evidence.templates, std=0.05)
    for posterior in (evidence.of_responses, evidence.of_rhythms):
        posterior.same_set[:3, :3] = 1.0
        posterior.trust[1:] = 1.0
    return tokenizer.reading(evidence)


def test_every_task_can_be_trained_from_them(tokens: Path, tokenizers: Tokenizers) -> None:
    for task in TASKS:
        config = DocumentConfig(length=512, documents_per_batch=3, tasks={task: 1})
        batch = DocumentSource([tokens], tokenizers.vocabulary, config).batch(0)
        assert int(batch["documents"].max()) == 3


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    tokens: Path, trials: list[dict], tokenizers: Tokenizers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = write_samples(tmp_path / "keys", trials)
    encode = tokenizers.eeg.encode_windows
    calls = []

    def dies_at_the_second_shard(windows: list[Window]) -> list:
        calls.append(len(windows))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(windows)

    monkeypatch.setattr(tokenizers.eeg, "encode_windows", dies_at_the_second_shard)
    with pytest.raises(KeyboardInterrupt):
        tokenize_shards([samples], tokenizers, tmp_path / "tokens", variants=3)
    left = tmp_path / "tokens" / "keys"
    assert sorted(p.name for p in left.glob("*.tar")) == ["train-000000.tar"]
    with pytest.raises(DataError, match="manifest"):
        ShardReader(left, "train")
    tokenize_shards([samples], tokenizers, tmp_path / "tokens", variants=3)
    assert calls == [6, 6, 6, 2]
    for path in sorted(p.name for p in tokens.iterdir()):
        assert (left / path).read_bytes() == (tokens / path).read_bytes()


@pytest.mark.parametrize("change", [{"variants": 2}, {"variants": 3, "seed": 1}])
def test_tokens_of_other_settings_are_not_mixed(tokens: Path, trials, tokenizers, tmp_path: Path, change) -> None:
    samples = write_samples(tmp_path / "keys", trials)
    with pytest.raises(DataError, match=f"another {list(change)[-1]}"):
        tokenize_shards([samples], tokenizers, tokens.parent, **change)


def test_sets_without_eeg_or_without_pictures_work(trials: list[dict], tokenizers: Tokenizers, tmp_path: Path) -> None:
    pictures = [
        {"__key__": t["__key__"], "png": t["png"], "json": {"recipe": "pictures", "texts": t["json"]["texts"]}}
        for t in trials
    ]
    plain = [{k: v for k, v in t.items() if k != "png"} for t in trials]
    plain = [{**t, "json": {**t["json"], "texts": [], "label_text": None, "question": None}} for t in plain]
    made = [write_samples(tmp_path / "in" / n, r) for n, r in (("pictures", pictures), ("plain", plain))]
    folders = tokenize_shards(made, tokenizers, tmp_path / "out")
    served = [
        [name for name, task in TASKS.items() if TokenFolder(f, "train", tokenizers.vocabulary)[0].supports(task)]
        for f in folders
    ]
    assert served == [["text2image", "image2text", "image", "text"], ["eeg"]]


def test_pictures_and_texts_of_webdataset_become_tokens(tokenizers: Tokenizers, tmp_path: Path) -> None:
    """Of any size, format and split; a json of another program is not used; an empty text is none."""
    import webdataset

    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (40, 30, 3), dtype=np.uint8) for _ in range(4)]
    folder = tmp_path / "in" / "pairs"
    folder.mkdir(parents=True)
    with webdataset.ShardWriter(str(folder / "pairs-%d.tar"), maxcount=2, verbose=0) as writer:
        for i, (picture, text) in enumerate(zip(pixels, ["the key A", " ", "the key B", "A"], strict=True)):
            writer.write({"__key__": f"p/{i}", "png": encode("png", picture), "txt": text, "json": {"url": "x"}})
    index_shards(folder, {"train": ["pairs-0.tar"], "validation": ["pairs-1.tar"]}, licence="CC0")
    [made] = tokenize_shards([str(folder)], tokenizers, tmp_path / "out")
    train, validation = (TokenFolder(made, split, tokenizers.vocabulary) for split in ("train", "validation"))
    assert [len(train), len(validation)] == [2, 2]
    records = [train[0], train[1], validation[0], validation[1]]
    expected = tokenizers.image.encode(np.stack([centre_square(picture, SIDE) for picture in pixels]))
    for record, ids in zip(records, expected, strict=True):
        assert record.span("image", TASKS["image"]).ids_local.tolist() == ids.tolist()
    texts = [[tokenizers.text.decode([r.span("text", TASKS["text"]).ids_local])[0]] for r in records if r.info["texts"]]
    assert texts == [["the key A"], ["the key B"], ["A"]]
    assert [record.supports(TASKS["image2text"]) for record in records] == [True, False, True, True]
    assert (records[0].info["recipe"], records[0].info["split"], records[3].info["split"]) == (
        "pairs",
        "train",
        "validation",
    )
    assert "url" not in records[0].info
    assert json.loads((made / "manifest.json").read_text())["samples"]["licence"] == "CC0"
    config = DocumentConfig(length=64, documents_per_batch=8, tasks={"text2image": 1, "image": 1})
    assert int(DocumentSource([made], tokenizers.vocabulary, config).batch(0)["documents"].max()) > 1
    assert tokenize_shards([folder], tokenizers, tmp_path / "out") == [made]  # nothing is left to do


def test_eeg_that_nothing_describes_is_refused(trials: list[dict], tokenizers: Tokenizers, tmp_path: Path) -> None:
    write_shard(shard_path(tmp_path / "in", "train", 0), [{**trials[0], "json": {"i": 1}}])
    index_shards(tmp_path / "in", {"train": ["*.tar"]})
    with pytest.raises(DataError, match=r"trial-0\.npy without the json"):
        tokenize_shards([tmp_path / "in"], tokenizers, tmp_path / "out")


def test_a_recipe_of_another_kind_is_not_ours(trials: list[dict], tokenizers: Tokenizers, tmp_path: Path) -> None:
    """The json of a cook book has a recipe, too."""
    told = {"recipe": "soup", "texts": "boil it", "label": 3}
    plain = [{"__key__": "a", "txt": "the key A", "png": trials[0]["png"], "json": told}]
    write_shard(shard_path(tmp_path / "cook", "train", 0), plain)
    index_shards(tmp_path / "cook", {"train": ["*.tar"]})
    [folder] = tokenize_shards([tmp_path / "cook"], tokenizers, tmp_path / "out")
    record = TokenFolder(folder, "train", tokenizers.vocabulary)[0]
    assert (record.info["recipe"], record.info["label"]) == ("cook", None)
    assert tokenizers.text.decode([record.span("text", TASKS["text"]).ids_local]) == ["the key A"]
    eeg = [{**trials[0], "json": {**told, "ch_names": ["Cz"]}}]
    write_shard(shard_path(tmp_path / "eeg", "train", 0), eeg)
    index_shards(tmp_path / "eeg", {"train": ["*.tar"]})
    with pytest.raises(DataError, match=r"trial-0\.npy without the json"):
        tokenize_shards([tmp_path / "eeg"], tokenizers, tmp_path / "out")


def test_a_name_that_comes_twice_is_refused_before_the_work(tokens, trials, tokenizers, tmp_path: Path) -> None:
    one = write_samples(tmp_path / "a" / "keys", trials)
    other = write_samples(tmp_path / "b" / "keys", trials)
    for samples in ([one, one], [one, other]):
        with pytest.raises(DataError, match=r"keys: .* two folders of samples"):
            tokenize_shards(samples, tokenizers, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_task_stays_small_where_a_set_has_many_shards(trials: list[dict], tmp_path: Path) -> None:
    """It goes to another process; the manifest does not go along."""
    folder = write_samples(tmp_path / "keys", trials)
    manifest = json.loads((folder / "manifest.json").read_text())
    readers = {"train": ShardReader(folder, "train")}
    [task, *_] = _tasks(tmp_path / "out", folder, readers, variants=3, seed=0)
    assert len(pickle.dumps(task)) < 1000 < len(pickle.dumps(readers))
    manifest["shards"]["train-000000.tar"]["sha256"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="changed while it was tokenized"):
        _opened(task.source, task.split, task.fingerprint)


@pytest.mark.slow  # new processes import torch
def test_other_processes_write_the_same_bytes(
    tokens: Path, trials, tokenizers: Tokenizers, tmp_path: Path, on: str, jobs_here: None
) -> None:
    samples = write_samples(tmp_path / "keys", trials)
    [folder] = tokenize_shards([samples], tokenizers, tmp_path / "tokens", variants=3, launch=Launch(on=on, workers=2))
    assert (folder / "manifest.json").read_bytes() == (tokens / "manifest.json").read_bytes()
    assert not list((tmp_path / "tokens" / ".tasks").glob("tmp*")), "the tokenizers that were lent to the workers"


def test_bad_samples_are_named(trials: list[dict], tokenizers: Tokenizers, tmp_path: Path) -> None:
    large = [{**trials[0], "png": np.zeros((32, 32, 3), np.uint8)}]
    with pytest.raises(DataError, match=r"trial-0 is \(32, 32, 3\)"):
        tokenize_shards([write_samples(tmp_path / "large", large)], tokenizers, tmp_path / "a")
    silent = [{**trials[0], "json": {**trials[0]["json"], "texts": [""]}}]
    with pytest.raises(DataError, match=r"trial-0 .* empty text"):
        tokenize_shards([write_samples(tmp_path / "silent", silent)], tokenizers, tmp_path / "b")


def window(n_chans: int) -> Window:
    rng = np.random.default_rng(n_chans)
    times = np.arange(400) / 200
    eeg_uV = 100 * np.sin(2 * np.pi * 7 * times + rng.uniform(0, 6, (n_chans, 1))).astype(np.float32)
    names = tuple(f"E{i}" for i in range(n_chans))
    return Window(eeg_uV, names, rng.standard_normal((n_chans, 3)).astype(np.float32), 20.0)


@pytest.mark.parametrize("n_chans", [1, 3, 4, 7, 8, 64])
def test_augmentation_stays_inside_its_bounds(n_chans: int) -> None:
    clean = window(n_chans)
    n_kept, noise_share = set(), []
    for seed in range(100):
        made = augment(clean, np.random.default_rng(seed))
        kept = [int(name[1:]) for name in made.ch_names]
        assert kept == sorted(set(kept))
        assert np.array_equal(made.positions, clean.positions[kept])
        assert (made.eeg_uV.dtype, made.scale_uV) == (np.float32, clean.scale_uV)
        n_kept.add(len(kept))
        fits = []
        for shift in range(-2, 3):  # the best of the possible shifts explains all but the noise
            moved = clean.eeg_uV[kept][:, np.clip(np.arange(400) - shift, 0, 399)]
            factor = float((moved * made.eeg_uV).sum() / (moved**2).sum())
            fits.append((float(np.std(made.eeg_uV - factor * moved)) / clean.scale_uV, factor))
        noise, factor = min(fits)
        noise_share.append(noise)
        assert 0.8 < factor < 1.25
    assert n_kept == (set(range(n_chans - n_chans // 4, n_chans + 1)) if n_chans > 7 else {n_chans})
    assert 0.04 < min(noise_share) < 0.065
    assert 0.135 < max(noise_share) < 0.165


@pytest.mark.parametrize("n_chans", [4, 8])
def test_an_average_reference_is_kept_by_what_changes_the_channels(n_chans: int) -> None:
    """Noise in the average, which EEG has none of, is all that a covariance would know of it."""
    clean = window(n_chans)
    averaged = replace(clean, eeg_uV=clean.eeg_uV - clean.eeg_uV.mean(axis=0))
    assert averaged.averaged
    assert not clean.averaged
    for seed in range(20):
        made = augment(averaged, np.random.default_rng(seed))
        assert np.abs(made.eeg_uV.mean(axis=0)).max() < 1e-5 * clean.scale_uV
        assert np.abs(augment(clean, np.random.default_rng(seed)).eeg_uV.mean(axis=0)).max() > 0.1 * clean.scale_uV
