import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.files import write_json
from neuroleon.data_pipeline import remote
from neuroleon.data_pipeline.causal_mask import Masking
from neuroleon.data_pipeline.loader import DocumentConfig, DocumentSource, TokenFolder
from neuroleon.data_pipeline.packing import LossWeights
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.retrieval.encoder import Encoder
from neuroleon.retrieval.memory import Retrieval
from neuroleon.tokenizers.document import parse, unconditional_prompt
from neuroleon.tokenizers.infill import restore
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.vocabulary import EOD, Vocabulary

STEP = np.array([0, 12, 24, 36])
PLAIN = Masking(probability=0)


def vocabulary(eeg_fingerprint: str = "e") -> Vocabulary:
    return Vocabulary.of(
        text=SimpleNamespace(size=300, fingerprint="t"),
        image=SimpleNamespace(size=64, fingerprint="i", tokens=9),
        eeg=SimpleNamespace(size=48, fingerprint=eeg_fingerprint, tokens_per_step=4),
    )


def record(number: int, *, has_eeg: bool) -> dict:
    """Two EEG variants, a picture, two texts, a label with its question; the picture begins with the number."""
    picture = [number // 64, number % 64, *range(7)]
    pieces = {"v0": STEP.repeat(1), "v1": STEP + 1, "image": picture, "a": [1, 2], "b": [3], "label": [4], "q": [5, 6]}
    ends = np.cumsum([len(ids) for ids in pieces.values()]).tolist()
    at = {name: [end - len(ids), end] for (name, ids), end in zip(pieces.items(), ends, strict=True)}
    info = {
        "eeg": {"variants": [[*at["v0"], 3], [*at["v1"], 4]], "steps": 1} if has_eeg else None,
        "image": at["image"],
        "texts": [at["a"], at["b"]],
        "label_text": at["label"] if has_eeg else None,
        "question": at["q"] if has_eeg else None,
        "recording": f"r{number % 5}",
        "image_key": str(number),
    }
    return {"__key__": f"{number:06d}", "npy": np.concatenate(list(pieces.values())).astype(np.int32), "json": info}


def write_folder(folder: Path, n: int, *, has_eeg: bool = True) -> Path:
    half = n // 2
    for i, numbers in enumerate((range(half), range(half, n))):
        write_shard(shard_path(folder, "train", i), [record(k, has_eeg=has_eeg) for k in numbers])
    write_manifest(folder)
    vocabulary().save(folder / "vocabulary.json")
    wordings = {name: [[100 + i] for i in range(len(task.instructions))] for name, task in TASKS.items()}
    write_json(folder / "instructions.json", wordings)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("tokens")
    return [write_folder(root / "trials", 23), write_folder(root / "pictures", 90, has_eeg=False)]


def source(folders: list[Path], **settings) -> DocumentSource:
    return DocumentSource(folders, vocabulary(), DocumentConfig(length=128, **settings))


def test_a_position_is_the_same_document_in_fresh_objects_in_any_order(folders: list[Path]) -> None:
    first, second = source(folders), source(folders)
    forward = [first.document(p).ids.tolist() for p in range(60)]
    backward = [second.document(p).ids.tolist() for p in reversed(range(60))]
    assert forward == backward[::-1]
    assert forward != [source(folders, seed=1).document(p).ids.tolist() for p in range(60)]


def test_a_position_is_the_same_document_in_another_process(folders: list[Path], tmp_path: Path) -> None:
    made = source(folders)
    (tmp_path / "source.pickle").write_bytes(pickle.dumps(made))
    code = "import pickle, sys; source = pickle.load(open(sys.argv[1], 'rb'))"
    code += "; print([source.document(p).ids.tolist() for p in (7, 1234)])"
    shown = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "source.pickle")], capture_output=True, text=True, check=True,
        cwd=Path(__file__).resolve().parents[3],
    )  # fmt: skip
    assert shown.stdout.strip() == str([made.document(p).ids.tolist() for p in (7, 1234)])


def test_batches_are_identical_from_fresh_objects(folders: list[Path]) -> None:
    for index in (0, 3):
        one, other = source(folders).batch(index), source(folders).batch(index)
        assert one.keys() == {"ids", "targets", "weights", "kinds", "positions", "documents"}
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert int(one["documents"].max()) == 16
        assert one["ids"].shape[1] == 128
    assert not torch.equal(source(folders).batch(0)["ids"][:1], source(folders).batch(1)["ids"][:1])


def test_a_batch_holds_the_documents_of_its_positions(folders: list[Path]) -> None:
    made = source(folders, documents_per_batch=5)
    batch = made.batch(2)
    for number, position in enumerate(range(10, 15), start=1):
        assert batch["ids"][batch["documents"] == number].tolist() == made.document(position).ids.tolist()


def test_every_record_comes_once_in_an_epoch_of_its_recipe(folders: list[Path]) -> None:
    made = source(folders, recipes={"trials": 3, "pictures": 1})
    places = [made.place(p) for p in range(4000)]
    for name, n, share in (("trials", 23, 750), ("pictures", 90, 250)):
        numbers = [i for recipe, i in places if recipe == name]
        assert len(numbers) == 4 * share
        epochs = [numbers[i : i + n] for i in range(0, len(numbers) - n + 1, n)]
        assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_without_weights_recipes_come_by_their_size(folders: list[Path]) -> None:
    made = source(folders)
    counts = Counter(made.place(p)[0] for p in range(1000))
    assert counts["trials"] == round(1000 * 23 / 113)


def test_every_task_a_record_serves_comes_and_no_other(folders: list[Path]) -> None:
    made = source(folders, masking=PLAIN, condition_dropout=0)
    tasks = {"trials": Counter(), "pictures": Counter()}
    for position in range(600):
        rendered = made.document(position)
        tasks[rendered.key.split("/")[0]][parse(rendered.ids, made.vocabulary).task] += 1
    assert set(tasks["trials"]) == set(TASKS)
    assert set(tasks["pictures"]) == {"text2image", "image2text", "image", "text"}


def test_documents_hold_what_their_record_says(folders: list[Path]) -> None:
    made = source(folders[:1], tasks={"eeg2label": 1, "eeg2both": 1}, masking=PLAIN, condition_dropout=0)
    seen = Counter()
    for position in range(200):
        rendered = made.document(position)
        document = parse(rendered.ids, made.vocabulary)
        variant = document.spans[0].scale - 3
        assert document.spans[0].ids_local.tolist() == (STEP + variant).tolist()
        text = document.spans[1].ids_local.tolist()
        seen[(document.task, variant, tuple(text), tuple(document.instruction.tolist()))] += 1
        if document.task == "eeg2both":
            assert document.spans[2].ids_local[:2].tolist() == [*divmod(int(rendered.key[-6:]), 64)]
    label = {k for k in seen if k[0] == "eeg2label"}
    assert label == {("eeg2label", v, (4,), (5, 6)) for v in (0, 1)}
    n_wordings = len(TASKS["eeg2both"].instructions)
    assert len(seen) - len(label) == 2 * 2 * n_wordings


def test_dropout_gives_the_unconditional_document_at_its_rate(folders: list[Path]) -> None:
    made = source(folders[:1], tasks={"eeg2image": 1}, condition_dropout=0.25)
    start = unconditional_prompt("eeg2image", made.vocabulary).tolist()
    dropped = [made.document(p).ids[: len(start)].tolist() == start for p in range(800)]
    assert np.mean(dropped) == pytest.approx(0.25, abs=0.05)


def test_masked_documents_are_documents_underneath(folders: list[Path]) -> None:
    made = source(folders, masking=Masking(probability=1))
    plain = source(folders, masking=PLAIN)
    for position in range(100):
        assert restore(made.document(position)).ids.tolist() == plain.document(position).ids.tolist()


def test_loss_weights_reach_the_batch(folders: list[Path]) -> None:
    batch = source(folders[:1], tasks={"eeg2image": 1}, loss=LossWeights(eeg=0, only_outputs=True)).batch(0)
    assert set(batch["kinds"][batch["weights"] > 0].tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"recipes": {"dreams": 1}}, ConfigError, "dreams"),
        ({"recipes": {"trials": 1, "pictures": 1e-6}}, ConfigError, "1 in 1000"),
        ({"recipes": {"trials": -1}}, ConfigError, "recipes"),
        ({"tasks": {"eeg2smell": 1}}, ConfigError, "eeg2smell"),
        ({"tasks": {"eeg2image": 1}}, DataError, "pictures/.* serves none"),
        ({"condition_dropout": 2}, ConfigError, "condition_dropout"),
        ({"documents_per_batch": 0}, ConfigError, "documents_per_batch"),
        ({"split": "test"}, DataError, "no records in split test"),
    ],
)
def test_wrong_settings_are_refused_before_training(folders: list[Path], settings, error, message) -> None:
    with pytest.raises(error, match=message):
        source(folders, **settings)


def test_tokens_of_another_vocabulary_are_refused(folders: list[Path]) -> None:
    with pytest.raises(CheckpointError, match="trials: made with vocabulary"):
        TokenFolder(folders[0], "train", vocabulary("another"))


def test_folders_in_a_bucket_give_the_same_documents(folders: list[Path], tmp_path: Path, monkeypatch) -> None:
    class Bucket:
        def get_file(self, url: str, target: str, callback: object) -> None:
            Path(target).write_bytes((folders[0].parent / url.removeprefix("s3://tokens/")).read_bytes())

    monkeypatch.setattr(remote, "_filesystem", lambda url: Bucket())
    monkeypatch.setenv("NEUROLEON_CACHE", str(tmp_path))
    there = DocumentSource(["s3://tokens/trials", "s3://tokens/pictures"], vocabulary(), DocumentConfig(length=128))
    here = source(folders)
    assert there.place(10**9) == here.place(10**9)
    assert all(there.document(p).ids.tolist() == here.document(p).ids.tolist() for p in range(40))


def test_records_are_mixed_inside_of_the_shards_of_a_window(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "trials", 40)
    whole, halves = (source([folder], shuffle_shards=window) for window in (2, 1))
    first = [[made.place(p)[1] < 20 for p in range(20)] for made in (whole, halves)]
    assert len(set(first[1])) == 1
    assert len(set(first[0])) == 2


CODES = (
    SimpleNamespace(codebook=np.random.default_rng(0).standard_normal((48, 6))),
    SimpleNamespace(codebook=np.eye(64)),
)


def test_retrieved_documents_stand_before_the_same_document(folders: list[Path]) -> None:
    """Nothing of the same recording or picture, as many as the row has room for; the document itself is untouched."""
    settings = {"masking": PLAIN, "condition_dropout": 0.3}
    config = DocumentConfig(length=90, retrieval=Retrieval(documents=3, limit=1.0), **settings)
    encoder = Encoder(vocabulary(), *CODES)
    made, again = (DocumentSource(folders[:1], vocabulary(), config, encoder) for _ in range(2))
    plain = source(folders[:1], **settings)
    n_before = Counter[int]()
    for position in range(150):
        alone, whole = plain.document(position), made.document(position)
        assert whole.ids.tolist() == again.document(position).ids.tolist()
        assert whole.ids[-len(alone) :].tolist() == alone.ids.tolist()
        assert len(whole) <= 90
        _, mine = made.place(position)
        found = whole.ids[: len(whole) - len(alone)]
        for ids in pictures_of(found):
            first, second, *_ = vocabulary().to_local("image", ids)
            number = int(first) * 64 + int(second)
            assert number % 5 != mine % 5, "of another recording"
        document = parse(alone.ids, vocabulary())
        n_before[int((whole.ids == EOD).sum()) - int((alone.ids == EOD).sum())] += 1
        if document.instruction is None or not TASKS[document.task].inputs:
            assert len(whole) == len(alone), "nothing to ask with"
    assert set(n_before) == {0, 1, 2, 3}


def pictures_of(ids: np.ndarray) -> list[np.ndarray]:
    """Shared ids of every picture in a sequence of documents."""
    image = vocabulary().image
    inside = (ids >= image.start) & (ids < image.stop)
    places = np.flatnonzero(inside)
    return [ids[run] for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(run)]


def test_retrieval_without_an_encoder_is_refused(folders: list[Path]) -> None:
    config = DocumentConfig(length=90, retrieval=Retrieval(documents=1))
    with pytest.raises(ConfigError, match="no encoder"):
        DocumentSource(folders, vocabulary(), config)
