"""The project's own files agree with one another."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_requirements_for_plain_pip_are_the_dependencies_without_taming() -> None:
    listed = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert listed == [name for name in PROJECT["project"]["dependencies"] if not name.startswith("taming")]


def test_nothing_that_breaks_a_cpu_build_of_torch_is_asked_for() -> None:
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=!~ \[]", name)[0] for name in asked}
    assert not names & {
        "torchvision",
        "torchaudio",
        "pytorch-lightning",
        "lightning",
        "timm",
        "lpips",
        "torch-fidelity",
    }
    assert all("never" in override for override in PROJECT["tool"]["uv"]["override-dependencies"])


def test_the_readme_lists_every_folder_and_script() -> None:
    readme = (ROOT / "README.md").read_text()
    folders = [p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".") and any(p.rglob("*.py"))]
    generated = {"runs", "outputs", "build", "dist"}
    scripts = [p.name for p in ROOT.glob("*.py")]
    missing = [
        name
        for name in [*folders, *scripts]
        if f"`{name}" not in readme and name not in generated | {"tests", "benchmarks"}
    ]
    assert not missing


def test_presets_are_named_in_their_own_command_line() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        text = path.read_text()
        assert isinstance(yaml.safe_load(text), dict), path.name
        assert f"configs/{path.name}" in text.split("\n\n")[0], f"{path.name} does not show its command"


def test_no_lock_file_and_no_pickle_is_tracked() -> None:
    for pattern in ("*.lock", "**/*.pkl", "**/*.pickle", "**/*.pth", "**/*.pt", "**/*.ckpt"):
        hits = [p for p in ROOT.glob(pattern) if not {".venv", "runs", "outputs"} & set(p.relative_to(ROOT).parts)]
        assert not [p for p in hits if p.name != "uv.lock"]  # ignored by git
