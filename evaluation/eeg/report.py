"""The folder of a tokenizer report: report.md to read, report.json to compute with, figures/ to look at."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from neuroleon.common.files import atomic_folder, write_atomic, write_json
from neuroleon.evaluation.eeg.figures import bands_figure, codes_figure, curve_figure
from neuroleon.evaluation.eeg.found import TokenizerReport
from neuroleon.evaluation.eeg.gates import FIDELITY_GATES
from neuroleon.evaluation.eeg.page import markdown
from neuroleon.evaluation.figures import waveform_figure
from neuroleon.evaluation.report import require_free

FORMAT = "neuroleon.eeg-tokenizer-report/1"


def write_tokenizer_report(report: TokenizerReport, out: Path) -> None:
    """Write the folder `out`; an earlier report there is replaced.

    Raises:
        ConfigError: `out` holds something that is no report of ours.
    """
    require_free(out)
    with atomic_folder(out) as folder:
        write_json(folder / "report.json", _as_json(report))
        write_atomic(folder / "report.md", markdown(report))
        drawn = folder / "figures"
        drawn.mkdir()
        if report.full:
            bands_figure(drawn / "bands.png", report.full, dict(FIDELITY_GATES))
            codes_figure(drawn / "codes.png", report.levels)
        for recipe, original, restored in report.waveforms:
            waveform_figure(drawn / f"waveforms-{recipe}.png", recipe, original, restored)
        if report.curve is not None:
            curve_figure(drawn / "rate-retention.png", report.curve)


def _as_json(report: TokenizerReport) -> dict[str, Any]:
    """Everything but the waveforms, which are drawn."""
    return {"format": FORMAT} | {name: value for name, value in asdict(report).items() if name != "waveforms"}
