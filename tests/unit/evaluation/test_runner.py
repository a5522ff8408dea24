"""The whole runner on a small set whose truth is known: oracle, guesser and confounded set."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy_model import (
    LABELS,
    SENTENCES,
    TEXT,
    VOCABULARY,
    Greys,
    Guesser,
    Oracle,
    StepMeans,
    model_of,
    report_of,
    rows,
    run,
    toy_set,
)
from tqdm import tqdm

import neuroleon.evaluate as command
from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.shards import ShardReader, shard_path, write_manifest, write_shard
from neuroleon.evaluation.answers import GREEDY
from neuroleon.evaluation.feed import Feed
from neuroleon.evaluation.ledger import FILE
from neuroleon.evaluation.page import as_markdown
from neuroleon.evaluation.report import write_report
from neuroleon.evaluation.runner import Evaluation, evaluate, evaluate_folder
from neuroleon.evaluation.sections import page_of
from neuroleon.evaluation.trials import load_trials
from neuroleon.signals.window import Window
from neuroleon.tokenizers.document import task_of


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of 8 pixels are not worth a network's time."""
    monkeypatch.setattr("neuroleon.evaluation.runner.packaged_network", lambda: None)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_set(tmp_path_factory.mktemp("sound") / "toy", lambda recording, trial: trial % 4)


def test_oracle_has_its_known_accuracies_and_bits(sound: Path) -> None:
    result = run(sound, Oracle(0.97))
    found = rows(result)
    assert (result.n_windows, result.n_trials, result.n_answers) == (32, 16, 4)
    right = [c for c in found.values() if c.chance == 0.25 and "agree" not in c.metric]
    bits = [c for c in found.values() if c.unit == "bits"]
    assert len(right) == 10 and len(bits) == 5
    among = [c for c in bits if c.metric.endswith("among the set's")]
    assert [c.chance for c in among] == [-2.0, -2.0]  # four answers, equally often
    for c in right:
        assert c.conditions["real"].mean == 1.0 and c.conditions["constant"].mean == pytest.approx(0.25)
        assert c.verdict == "above shuffled" and c.conditions["noise"].mean < 0.6
    same = found["accuracy, generated label"].conditions["shuffled"].mean  # trials whose partner has their label
    for c in bits:
        assert c.conditions["real"].mean == pytest.approx(np.log2(0.97))
        assert c.conditions["none"].mean == pytest.approx(-2.0)
        assert c.gain.mean == pytest.approx((1 - same) * np.log2(0.97 / 0.01))  # more than the 2 bits there are
        assert c.verdict == "above shuffled" and c.gain.low > 0 and c.p < 0.01
    for what in ("label by likelihood", "picture by likelihood", "picture made likelier"):
        two_way, rank = found[f"2-way top-1, {what}"], found[f"median rank among 4, {what} (lower is better)"]
        wrong = two_way.conditions["shuffled"].mean  # one candidate is above, the other three are equal
        assert (two_way.conditions["real"].mean, two_way.chance) == (1.0, 0.5)
        assert wrong == pytest.approx(same + (1 - same) / 3)
        assert (rank.conditions["real"].mean, rank.chance, rank.gain.mean) == (1.0, 2.5, -2.0)


def test_sentences_of_the_oracle_are_the_references(sound: Path) -> None:
    (task,) = run(sound, Oracle(0.97), tasks=("eeg2text",)).tasks
    found = {c.metric: c for c in task.comparisons}
    for metric in ("corpus BLEU-4", "CIDEr"):
        if metric in found:
            assert found[metric].conditions["real"].mean == pytest.approx(100 if metric != "CIDEr" else 10)
    for metric in ("ROUGE-1, F", "ROUGE-L, F", "2-way caption identification, nearer than of another class"):
        assert found[metric].conditions["real"].mean == 1.0 and found[metric].verdict == "above shuffled"
    errors = found["word error rate (lower is better)"]
    assert (errors.conditions["real"].mean, errors.verdict) == (0.0, "below shuffled")
    assert errors.conditions["constant"].mean == pytest.approx(0.75 / 6)  # one word of six, of three labels of four
    assert any("Different sentences: real 4 of 32" in remark for remark in task.remarks)
    assert not [metric for metric in found if "the same class" in metric]
    assert any("against the same class, which has no other caption" in remark for remark in task.remarks)
    assert any("nrefs:1|" in remark for remark in task.remarks)
    assert {one.target for one in task.shown} == set(SENTENCES)
    assert all(one.outputs["real"] == one.target for one in task.shown)


def test_labels_of_the_oracle_are_counted_and_calibrated(sound: Path) -> None:
    (task,) = run(sound, Oracle(0.97), tasks=("eeg2label",)).tasks
    generated, likeliest = task.confusions
    assert generated.answers == tuple(sorted(LABELS))
    assert np.array_equal(generated.counts["real"], np.eye(4, 5) * 8)
    assert generated.counts["shuffled"] == likeliest.counts["shuffled"] != generated.counts["real"]
    assert task.reliability is not None and task.reliability.bins["real"] == [(pytest.approx(0.97), 1.0, 32)]
    assert task.reliability.error["real"] == pytest.approx(0.03)
    assert task.reliability.error["shuffled"] > 0.5  # as sure, and wrong


def test_a_sentence_and_its_picture_agree_even_where_both_are_wrong(sound: Path) -> None:
    (task,) = run(sound, Oracle(0.97), tasks=("eeg2both",)).tasks
    found = {c.metric: c for c in task.comparisons}
    agree, beyond = found["sentence and picture agree"], found["agreement beyond that with another trial's picture"]
    assert agree.conditions["real"].mean == agree.conditions["shuffled"].mean == 1.0
    assert (agree.chance, agree.verdict) == (0.25, "no difference shown")
    assert beyond.conditions["real"].mean == pytest.approx(1 - 6 / 30)  # of 30 windows of other trials 6 have its label
    assert found["accuracy, label named by the sentence"].verdict == "above shuffled"
    assert beyond.conditions["none"].mean == pytest.approx(0.0)  # one answer for all


class Counting(Oracle):
    """Counts what it is asked for."""

    n_ids = n_scored = 0

    def generate(self, prompts: Any, settings: Any, keys: Any) -> list[np.ndarray]:
        made = super().generate(prompts, settings, keys)
        self.n_ids += sum(len(ids) for ids in made) - sum(len(p.ids) for p in prompts)
        return made

    def score(self, prompt: np.ndarray, continuations: Any) -> np.ndarray:
        self.n_scored += len(continuations)
        return super().score(prompt, continuations)


def test_what_a_task_costs_is_what_the_engine_did(sound: Path) -> None:
    engine = Counting(0.97)
    tasks = run(sound, engine, limit=8).tasks
    costs = {task.task: task.cost for task in tasks if task.cost is not None}
    assert len(costs) == 4 and all(cost.seconds > 0 for cost in costs.values())
    assert engine.n_ids == sum(cost.n_ids for cost in costs.values()) > 0
    assert engine.n_scored == sum(cost.n_scored for cost in costs.values()) > 0
    assert costs["eeg2both"].n_scored == 0 < costs["eeg2both"].n_ids


def test_trials_of_one_class_are_alike_and_the_bounds_are_there(sound: Path) -> None:
    """What the oracle reads is the class alone: another trial of the class serves it as well."""
    result = run(sound, Oracle(0.97))
    found = rows(result)
    for c in found.values():
        assert c.conditions["within class"].mean == c.conditions["real"].mean
    for task in result.tasks:
        first, *others = (c.p_holm for c in task.comparisons)
        assert first is not None and first <= len(result.tasks) * task.comparisons[0].p
        assert others == [None] * len(others)
    assert "oracle" not in found["accuracy, generated label"].conditions
    drawn = found["top-1, generated picture"].conditions
    assert (drawn["oracle"].mean, drawn["ceiling"].mean) == (1.0, 1.0)


def test_the_oracle_draws_from_the_true_sentence(sound: Path) -> None:
    """A model that draws one picture for every sentence has an oracle at chance, whatever it reads from EEG."""

    class Deaf(Oracle):
        def label(self, prompt: np.ndarray) -> int | None:
            return 0 if task_of(prompt, VOCABULARY) == "text2image" else super().label(prompt)

    drawn = rows(run(sound, Deaf(0.97), tasks=("eeg2image",)))["top-1, generated picture"].conditions
    assert (drawn["real"].mean, drawn["oracle"].mean, drawn["ceiling"].mean) == (1.0, 0.25, 1.0)


def test_classical_methods_get_the_folder_of_windows_before_events(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def asked(*_: Any, before: Path | None) -> Any:
        given.append(before)
        return SimpleNamespace(results=(), left_out=())

    monkeypatch.setattr("neuroleon.evaluation.runner.baselines", asked)
    monkeypatch.setattr("neuroleon.evaluation.runner.of_folders", lambda *_: {sound: None})
    run(sound, Oracle(0.97), tasks=("eeg2label",), limit=8, baselines=True)
    monkeypatch.setattr("neuroleon.evaluation.runner.of_folders", lambda *_: {sound: tmp_path})
    monkeypatch.setattr("neuroleon.evaluation.runner.load_trials", lambda *args: load_trials(*args[:4]))
    run(sound, Oracle(0.97), tasks=("eeg2label",), limit=8, baselines=True)
    assert given == [None, tmp_path]


def test_without_labels_the_model_and_the_baselines_choose_from_the_same_pictures(sound: Path, tmp_path: Path) -> None:
    """Three windows of three pictures, of four that the split has: the summary puts the two beside each other."""

    def unlabelled(record: dict[str, Any]) -> None:
        record["json"] |= {"label": None, "label_text": None, "question": None, "texts": []}

    report = report_of(
        edited(sound, tmp_path / "toy", unlabelled), Oracle(0.97), tasks=("eeg2image",), limit=3, baselines=True
    )
    (result,) = report.sets
    numbers = [result.tasks[0].comparisons[0], *(b.comparison for b in result.baselines)]
    assert {(c.n_windows, c.n_answers) for c in numbers} == {(3, 4)}
    pairs = [b.against for b in result.baselines if b.against]
    assert {(pair.task, pair.n_windows) for pair in pairs} == {("eeg2image", 3)}
    accuracies = [b for b in result.baselines if b.against and b.comparison.metric == "accuracy"]
    assert accuracies
    for b in accuracies:
        assert b.against is not None
        model, method = numbers[0].conditions["real"].mean, b.comparison.conditions["real"].mean
        assert b.against.difference.mean == pytest.approx(model - method)
    row = next(line for line in as_markdown(page_of(report)).splitlines() if line.startswith("| toy | eeg2image"))
    assert "| ridge to pictures " in row


def test_what_two_trials_cannot_tell_does_not_lose_the_report(sound: Path) -> None:
    """A step needs the EEG of a third trial."""
    result = run(sound, Oracle(0.97), tasks=("eeg2label",), limit=2, attribution=True)
    assert result.attribution is None and result.tasks[0].comparisons
    assert any("No attribution: toy: no step" in said for said in result.audit.sentences)


def edited(folder: Path, out: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The set in `folder` with every record changed."""
    for split in ("train", "validation", "test"):
        reader = ShardReader(folder, split)
        records = [{name: record[name] for name in ("__key__", "npy", "json", "png")} for record in reader]
        for record in records:
            change(record)
        write_shard(shard_path(out, split, 0), records, required=("json", "npy"))
    write_manifest(out)
    return out


def test_tasks_that_one_trial_only_has_are_left_out(sound: Path, tmp_path: Path) -> None:
    """An interval needs two trials: here one has a picture, a sentence and a question."""

    def rare(record: dict[str, Any]) -> None:
        if record["__key__"] not in ("r2-0", "r2-1"):
            record["json"] |= {"texts": [], "question": None, "image_key": None}
            del record["png"]

    result = run(edited(sound, tmp_path / "toy", rare), Oracle(0.97))
    assert [task.comparisons for task in result.tasks] == [()] * 4
    assert all(task.remarks[0].startswith("Left out: ") for task in result.tasks)


def test_the_oracle_of_sentences_knows_the_class_and_not_the_trial(sound: Path, tmp_path: Path) -> None:
    """A caption of one's own is more than a decoder of classes can say."""

    def own(record: dict[str, Any]) -> None:
        record["json"]["texts"] = [f"{record['json']['texts'][0]} {record['__key__']}"]

    trials = load_trials(edited(sound, tmp_path / "toy", own), "test", None, 0)
    feed = Feed(model_of(Oracle(0.97)), trials, 0, tqdm(disable=True))
    indices = range(len(trials.trials))
    said = TEXT.decode([span.ids_local.tolist() for span in feed.generate("eeg2text", indices, GREEDY)["oracle"]])
    told = {trial.meta["texts"][0]: trial for trial in trials.trials}
    for trial, sentence in zip(trials.trials, said, strict=True):
        assert told[sentence].answer == trial.answer and told[sentence].trial != trial.trial


def test_the_constant_sentence_is_one_of_training(sound: Path, tmp_path: Path) -> None:
    """One that only the evaluated split says would be a reference of the trials it is compared with."""

    def told(record: dict[str, Any]) -> None:
        if record["json"]["split"] == "test":
            record["json"]["texts"] = ["A " + record["json"]["texts"][0]]

    found = load_trials(edited(sound, tmp_path / "toy", told), "test", None, 0)
    assert found.majority == "east" and found.constant == SENTENCES[1]
    assert found.wordings["east"][0] == "A " + SENTENCES[1]


def test_a_class_of_one_trial_has_no_shuffle_within_and_that_is_said(sound: Path) -> None:
    result = run(sound, Oracle(0.97), tasks=("eeg2label",), limit=4)
    assert "within class" not in rows(result)["accuracy, generated label"].conditions
    assert any("No shuffle within the class: 4 answers have one trial" in said for said in result.audit.sentences)


def test_uses_of_the_test_split_are_written_and_told(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SimpleNamespace(engine=Oracle(0.97), vocabulary=VOCABULARY, text=TEXT, image=Greys(), eeg=StepMeans())
    model.fingerprint, model.labels = "m1", {}
    monkeypatch.setattr("neuroleon.evaluation.runner.NeuroleonPipeline.load", lambda *_: model)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    ledger, name = tmp_path / "models" / FILE, str(tmp_path / "models" / "mine")
    settings = {"samples": (sound,), "tasks": ("eeg2label",), "limit": 8}
    evaluate_folder(name, Evaluation(split="validation", **settings), tmp_path / "out", "cpu")
    assert not ledger.exists()
    for before in (0, 1):
        report = evaluate_folder(name, Evaluation(**settings), tmp_path / "out", "cpu")
        told = report.facts["uses of the test split before this one"]
        assert told == f"toy: {before} of this one, {before} of any"
        assert len(ledger.read_text().splitlines()) == before + 1


def test_likeliest_pictures_are_judged_where_the_true_one_is_scored(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With half of the pictures scored, the oracle would else be right half of the time, which is chance."""
    monkeypatch.setattr("neuroleon.evaluation.image_task.SCORED_PICTURES", 2)
    result = run(sound, Oracle(0.97), tasks=("eeg2image",))
    found = rows(result)
    for metric in ("top-1, likeliest picture", "top-1, picture made likelier"):
        assert (found[metric].conditions["real"].mean, found[metric].chance) == (1.0, 0.5)
        assert found[metric].n_windows == 16
    assert found["top-1, generated picture"].n_windows == 32
    assert any("the 16 windows whose answer is among these" in remark for remark in result.tasks[0].remarks)


def test_chance_is_of_the_pictures_that_there_are(sound: Path, tmp_path: Path) -> None:
    """The first label has two pictures and 8 of 20 windows with one, each other label one picture and 4 windows."""

    def two_of_the_first(record: dict[str, Any]) -> None:
        number, meta = int(record["__key__"].split("-")[1]), record["json"]
        if meta["label"] == LABELS[0]:
            meta["image_key"] += str(number // 2 // 4)
        elif number >= 8:
            meta["image_key"] = None
            del record["png"]

    found = rows(run(edited(sound, tmp_path / "toy", two_of_the_first), Oracle(0.97), tasks=("eeg2image", "eeg2both")))
    above = (8 * 2 + 12 * 1) / 20 / 5  # of five pictures
    for metric in ("top-1, generated picture", "top-1, likeliest picture", "top-1, picture made likelier"):
        assert found[metric].n_windows == 20 and found[metric].chance == pytest.approx(above)
    assert found["top-1, picture"].chance == pytest.approx(0.25), "all 32 windows, equally many of each label"
    against = 8 / 20 * 2 / 3 + 12 / 20 * (1 / 3 + 1 / 2 + 1 / 2) / 3  # one other label, of two pictures or of one
    for what in ("picture by likelihood", "picture made likelier"):
        assert found[f"2-way top-1, {what}"].chance == pytest.approx(against)
        assert found[f"median rank among 4, {what} (lower is better)"].chance == 2.0


def test_a_model_that_ignores_the_eeg_is_at_chance(sound: Path) -> None:
    found = rows(run(sound, Guesser(0.97)))
    assert len(found) == 36 and {c.verdict for c in found.values()} == {"no difference shown"}


def test_being_sure_and_wrong_is_below_chance_in_bits(sound: Path) -> None:
    """Real minus shuffled alone would not show it."""
    among = rows(run(sound, Guesser(0.97), tasks=("eeg2label",)))["log2 p of the true label among the set's"]
    assert among.chance is not None
    assert among.conditions["real"].high < among.chance == -2.0


def test_windows_of_one_trial_count_once_and_are_not_shuffled_into_each_other(sound: Path) -> None:
    """Were the two windows of a trial exchanged, the oracle would stay right under the shuffle."""
    result = run(sound, Oracle(0.97), tasks=("eeg2label",))
    assert rows(result)["accuracy, generated label"].conditions["shuffled"].mean < 0.7


def test_limit_is_balanced_over_labels_and_the_same_every_time(sound: Path) -> None:
    first, second = (run(sound, Guesser(0.9), tasks=("eeg2label",), limit=8) for _ in range(2))
    assert first.n_windows == 8 and first.n_available == 32
    assert rows(first)["accuracy, generated label"].conditions["constant"].mean == 0.25
    assert rows(first) == rows(second)


def test_a_class_that_is_the_recording_is_named(tmp_path: Path) -> None:
    folder = toy_set(tmp_path / "toy", lambda recording, trial: recording // 3 % 4, n_recordings=12)
    report = report_of(folder, Oracle(0.97), tasks=("eeg2label",))
    write_report(report, tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "**confounded: every recording (12 with 4 labels)" in text and "Random labels per recording" in text
    assert report.sets[0].audit.blocks is not None and report.sets[0].audit.blocks.n_blocks == 8


class Knows(StepMeans):
    """It knows one person, whom it hears a quarter of a second late: as another label."""

    subjects = ("s1",)

    def encode_windows(self, batch: list[Window]) -> list[Any]:
        found = super().encode_windows(batch)
        return [
            SimpleNamespace(ids=np.roll(t.ids, 2 * (window.subject == "s1")), scale=t.scale)
            for t, window in zip(found, batch, strict=True)
        ]


def test_where_people_are_known_there_is_a_number_of_what_comes_untold(sound: Path) -> None:
    model = model_of(Oracle(0.9))
    model.eeg = Knows()
    (result,) = evaluate(model, Evaluation(samples=(sound,), tasks=("eeg2label",)), {"model": "toy"}).sets
    (told,) = [sentence for sentence in result.audit.sentences if "told whose EEG it is" in sentence]
    assert f"knows the people of {result.n_windows} of {result.n_windows} windows" in told
    accuracy = result.tasks[0].comparisons[0]
    assert accuracy.conditions["real"].mean == 0.0
    assert accuracy.conditions["untold"].mean == 1.0
    assert not result.people, "there is one"
    nobody = run(sound, Oracle(0.9), tasks=("eeg2label",))
    assert "untold" not in rows(nobody)[accuracy.metric].conditions
    assert not [sentence for sentence in nobody.audit.sentences if "told whose" in sentence]


def test_of_several_people_numbers_are_told_by_person(sound: Path, tmp_path: Path) -> None:
    def of_two(record: dict[str, Any]) -> None:
        record["json"]["subject"] = "s1" if record["json"]["recording"].endswith(("0", "2", "4")) else "s2"

    model = model_of(Oracle(0.9))
    model.eeg = Knows()
    folder = edited(sound, tmp_path / "toy", of_two)
    (result,) = evaluate(model, Evaluation(samples=(folder,), tasks=("eeg2label",)), {"model": "toy"}).sets
    assert {person.subject for person in result.people} == {"s1", "s2"}
    assert sum(person.n_windows for person in result.people) == result.n_windows
    right = [person.numbers["eeg2label: accuracy, generated label"][1].mean for person in result.people]
    assert right == [0.0, 1.0], "only the first one's EEG is misread"


def test_tokenizers_are_measured(sound: Path) -> None:
    eeg, image = run(sound, Oracle(0.97), tasks=()).fidelities
    assert eeg.measures["correlation"].mean > 0.9 and eeg.measures["correlation, alpha (8-13 Hz)"].mean < 0.5
    assert 0 < eeg.measures["NMSE"].mean < 0.2
    assert eeg.codes[0].n_tokens == 32 * 8 and 0.3 < eeg.codes[0].used <= 1
    assert image.measures["PSNR (dB)"].mean > 50 and image.n == 4
    assert image.codes[0].used == 0.5  # two of the four greys


def test_pictures_are_drawn_at_the_temperature_asked_for(sound: Path) -> None:
    class Listens(Oracle):
        def generate(self, prompts: Any, settings: Any, keys: Any) -> list[np.ndarray]:
            heard.add((task_of(prompts[0].ids, VOCABULARY), settings.temperature, settings.guidance))
            return super().generate(prompts, settings, keys)

    heard: set[tuple[str, float, float]] = set()
    report = report_of(sound, Listens(0.9), tasks=("eeg2label", "eeg2image", "eeg2both"), temperature=0.2)
    of_eeg = {told for told in heard if told[0].startswith("eeg")}
    assert of_eeg == {("eeg2label", 0.0, 1.0), ("eeg2image", 0.2, 1.5), ("eeg2both", 0.2, 1.5)}
    assert report.facts["picture sampling"]["temperature"] == 0.2


def test_the_command_line_has_the_defaults_of_an_evaluation(sound: Path) -> None:
    given = vars(command.model_parser().parse_args(["--model", "m", "--samples", str(sound), "--out", "o"]))
    default = vars(Evaluation(samples=(sound,)))
    alike = default.keys() - {"samples"}
    assert {k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if k in alike} == {
        k: default[k] for k in alike & given.keys()
    }
    assert alike <= given.keys()


def test_bad_settings_and_empty_splits_are_refused(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="eeg2smell"):
        Evaluation(samples=(sound,), tasks=("eeg2smell",))
    with pytest.raises(ConfigError, match="limit is 1"):
        Evaluation(samples=(sound,), limit=1)
    with pytest.raises(ConfigError, match="temperature is -1"):
        Evaluation(samples=(sound,), temperature=-1)
    write_shard(shard_path(tmp_path, "train", 0), [], required=("json",))
    write_manifest(tmp_path)
    with pytest.raises(DataError, match="no sample with EEG"):
        run(tmp_path, Oracle(0.9))
