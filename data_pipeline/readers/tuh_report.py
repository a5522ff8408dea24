"""Physicians' reports of the Temple University Hospital corpora: free text under headings such as `IMPRESSION:`.

They are people's medical records. The corpus is given away without names and dates, but free text can still hold some
that were missed, besides ages, histories and medication, and nothing here looks for them. So a section is read only
where a recipe names it; read no more than you need, and keep what comes of it - shards, weights, sentences that a model
says - as the corpus's agreement asks of the corpus itself.
"""

import re
from pathlib import Path

from neuroleon.common.errors import DataError

# at the start of a line, in capitals, with a colon: CLINICAL HISTORY, DESCRIPTION OF THE RECORD, HR ...
_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z /,&()'-]*[A-Z)])[ \t]*:", re.MULTILINE)


def report_sections(report: str) -> dict[str, str]:
    """Heading -> what stands below it, up to the next heading, with single blanks; empty ones are left out.

    >>> report_sections("MEDICATIONS: None.\\nIMPRESSION:  Normal\\n EEG.")
    {'MEDICATIONS': 'None.', 'IMPRESSION': 'Normal EEG.'}
    """
    found = list(_HEADING.finditer(report))
    ends = [*(match.start() for match in found), len(report)][1:]
    sections: dict[str, str] = {}
    for match, end in zip(found, ends, strict=True):
        heading, text = " ".join(match[1].split()), " ".join(report[match.end() : end].split())
        if text:
            sections[heading] = f"{sections[heading]} {text}" if heading in sections else text
    return sections


def read_section(path: Path, section: str) -> str:
    """One section of a report. No text of the report is in an error.

    Raises:
        DataError: there is no report, or it has no such section.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: no report ({error.strerror}); version 3 of TUAB has none beside its files") from None
    try:
        report = content.decode("utf-8")
    except UnicodeDecodeError:  # older reports
        report = content.decode("latin-1")
    sections = report_sections(report)
    if section not in sections:
        raise DataError(f"{path}: no section {section!r} among its {len(sections)}; choose another, such as IMPRESSION")
    return sections[section]
