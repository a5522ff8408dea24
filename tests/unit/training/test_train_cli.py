"""`train.py`: settings come from a YAML file and flags, and every mistake is one line with exit code 2."""

from pathlib import Path

import pytest
import yaml
from letters_stage import LettersConfig

from neuroleon import train as cli
from neuroleon.common.files import read_json, verify_folder
from neuroleon.tokenizers.text import TextTokenizer


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.STAGES, "letters", "letters_stage:LettersStage")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "letters.yaml"
    path.write_text(yaml.safe_dump({"batch_size": 16, "loop": {"steps": 2, "save_every": 1}, "optim": {"lr": 0.01}}))
    return path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command prints."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1, printed.err
    assert printed.err.startswith("error: ")
    return printed.err


def test_a_stage_trains_from_a_file_and_flags(config: Path, tmp_path: Path) -> None:
    out, result = tmp_path / "run", tmp_path / "result"
    cli.main(["letters", "--config", str(config), "--optim.lr", "3e-4", "--out", str(out), "--export", str(result)])
    verify_folder(result)
    assert not (out / "final").exists()
    settings = read_json(out / "config.json")
    assert settings["stage"] == "letters"
    assert (settings["batch_size"], settings["loop"]["steps"], settings["optim"]["lr"]) == (16, 2, 3e-4)


def test_a_folder_that_training_did_not_make_is_not_replaced(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    arguments = ["letters", "--config", str(config), "--out", str(tmp_path / "run")]
    assert "would be replaced" in refused([*arguments, "--export", str(tmp_path / "mine")], capsys)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"
    assert not (tmp_path / "run").exists()


def test_resume_auto_goes_on_and_a_changed_setting_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["letters", "--config", str(config), "--out", str(tmp_path / "run")]
    cli.main(arguments)
    capsys.readouterr()
    assert "--resume auto" in refused(arguments, capsys)
    cli.main([*arguments, "--resume", "auto", "--loop.steps", "3"])
    assert read_json(tmp_path / "run/checkpoints/step-000003/state.json")["progress"]["step"] == 3
    capsys.readouterr()
    assert "belongs to settings" in refused([*arguments, "--resume", "auto", "--optim.lr", "0.5"], capsys)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--batch", "3"], "--batch"),
        (["--optim.lx", "3"], "--optim.lx"),
        (["--optim.lr", "fast"], "optim.lr"),
        (["--loop.mixed_precision", "fp16"], "bf16"),
        (["--loop.steps", "0"], "loop.steps is 0"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_unknown_flags_and_wrong_values_are_refused_in_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in refused(["letters", "--out", str(tmp_path / "run"), *arguments], capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [{"sped": 1}, {"loop": {"step": 1}}])
def test_unknown_keys_of_a_file_are_refused(wrong: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(wrong))
    assert ("sped" if "sped" in wrong else "step") in refused(
        ["letters", "--out", str(tmp_path / "run"), "--config", str(path)], capsys
    )


def test_an_unknown_stage_is_answered_with_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(["pretain"], capsys)
    assert "pretain" in told
    assert "text-tokenizer, image-tokenizer, eeg-tokenizer, pretrain, finetune" in told


def test_the_run_folder_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "out" in refused(["letters"], capsys)


def test_every_stage_can_be_imported_and_has_settings() -> None:
    for name in cli.STAGES:
        with pytest.raises(SystemExit) as exit_:
            cli.main([name, "--help"])
        assert exit_.value.code == 0


def test_text_tokenizer_reads_tasks_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = tmp_path / "words.txt"
    words.write_text("\n".join(f"a picture of the letter {letter}" for letter in "ABCDEFGH"), encoding="utf-8")
    cli.main(["text-tokenizer", "--texts", f"[{words}]", "--size", "400", "--out", str(tmp_path / "text")])
    tokenizer = TextTokenizer.load(tmp_path / "text" / "final")
    assert 256 < tokenizer.size <= 400
    assert len(tokenizer.encode(["a picture of the letter B"])[0]) <= 8
    assert tokenizer.decode(tokenizer.encode(["Draw what this person was looking at."])) == [
        "Draw what this person was looking at."
    ]
    capsys.readouterr()
    words.write_bytes(b"\xff\xfe\x00")
    assert "words.txt" in refused(["text-tokenizer", "--texts", f"[{words}]", "--out", str(tmp_path / "other")], capsys)
    assert "no data" in refused(["text-tokenizer", "--out", str(tmp_path / "other")], capsys)


def test_settings_of_the_letters_stage_are_validated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert LettersConfig().batch_size == 32
    assert "batch_size is 0" in refused(["letters", "--out", str(tmp_path / "run"), "--batch_size", "0"], capsys)


@pytest.mark.parametrize("stage", ["text-tokenizer", "pretrain", "finetune"])
def test_every_preset_is_accepted_by_its_stage(stage: str, tmp_path: Path) -> None:
    path = Path(cli.__file__).parent / "configs" / f"{stage}.yaml"
    arguments = ["--config", str(path), "--out", str(tmp_path)]
    arguments += {
        "text-tokenizer": ["--samples=[a]"],
        "pretrain": ["--data.tokens=[t/a]", "--data.samples=[s/a]", "--data.tokenizers=k"],
        "finetune": ["--data.tokens=[t/a]", "--data.samples=[s/a]", "--data.tokenizers=k", "--init=m"],
    }[stage]
    config, run, _ = cli.parse(cli.stage_class(stage), arguments)
    written = yaml.safe_load(path.read_text())
    assert run.loop.steps == written.get("loop", {"steps": 1000})["steps"]
    if stage == "text-tokenizer":
        assert config.size == written["size"]
    else:
        assert config.data.length == written["data"]["length"]
