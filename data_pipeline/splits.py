"""Which recording is for training, validation or test: whole recordings, sessions or subjects, never random windows."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from neuroleon.common.errors import ConfigError

SPLITS = ("train", "validation", "test")
UNITS = ("subject", "group", "recording")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What splits need to know of one recording: its own name, and its subject and group inside the data set."""

    recording: str
    subject: str
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """How recordings are dealt out.

    Attributes:
        by: what the patterns are compared with: `subject`, `group` or `recording`.
        train, validation, test: shell patterns; a name that equals a pattern letter for letter matches it as well.
        last_of: instead of patterns. Inside every `subject`, or every `group` of every subject, the last recording by
            name is for test and the one before it for validation; of two, the last is for test; one alone is
            for training.
        fold: with `last_of`, for cross-validation: 0 tests the last recording, K the K-th before it, in a circle; the
            one before the tested one is for validation.
        exclude: recordings, as `subject/group/recording` patterns, that are left out, such as copies of others.
    """

    by: str = "recording"
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    last_of: str | None = None
    fold: int = 0
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.by not in UNITS:
            raise ConfigError(f"split.by is {self.by!r}; expected one of {', '.join(UNITS)}")
        patterns = self.train or self.validation or self.test
        if self.last_of is None and not patterns:
            raise ConfigError("split: no pattern for train, validation or test, and no last_of")
        if self.last_of is not None and (
            patterns or self.last_of not in ("subject", "group") or self.by != "recording"
        ):
            raise ConfigError("split.last_of is `subject` or `group`, goes with by: recording, and allows no patterns")
        if self.fold < 0 or (self.fold and self.last_of is None):
            raise ConfigError(
                f"split.fold is {self.fold}; expected 0 or more, and only with last_of: patterns name recordings, so a "
                "fold of them is a recipe with other patterns"
            )


def matches(name: str, pattern: str) -> bool:
    """Whether a shell pattern fits; names such as `[2012.07.06` may be given as they are."""
    return name == pattern or fnmatchcase(name, pattern)


def assign(sources: Sequence[Source], rule: SplitRule) -> dict[str, str]:
    """Recording -> `train`, `validation` or `test`; excluded recordings are absent.

    Raises:
        ConfigError: a recording falls into no split or into two, or two recordings share a name.
    """
    names = Counter(source.recording for source in sources)
    if twice := next((name for name, times in names.items() if times > 1), None):
        raise ConfigError(f"recording {twice!r} comes twice; a reader must give every recording a name of its own")
    kept = [source for source in sources if not _excluded(source, rule)]
    if rule.last_of is not None:
        return _last_of(kept, rule.last_of, rule.fold)
    return {source.recording: _by_pattern(source, rule) for source in kept}


def _excluded(source: Source, rule: SplitRule) -> bool:
    path = f"{source.subject}/{source.group}/{source.recording}"
    return any(matches(path, pattern) for pattern in rule.exclude)


def _by_pattern(source: Source, rule: SplitRule) -> str:
    name = getattr(source, rule.by)
    fits = [split for split in SPLITS if any(matches(name, pattern) for pattern in getattr(rule, split))]
    if len(fits) != 1:
        found = " and ".join(fits) or "no split"
        raise ConfigError(
            f"recording {source.recording!r} ({rule.by} {name!r}) falls into {found}; expected exactly one: "
            f"mend the patterns under split, or name it under split.exclude"
        )
    return fits[0]


def _last_of(sources: Sequence[Source], unit: str, fold: int) -> dict[str, str]:
    together: dict[tuple[str, str], list[str]] = defaultdict(list)
    for source in sources:
        together[source.subject, source.group if unit == "group" else ""].append(source.recording)
    assigned: dict[str, str] = {}
    for names in together.values():
        ends = {1: ["train"], 2: ["train", "test"]}.get(len(names), ["validation", "test"])
        deal = ["train"] * (len(names) - len(ends)) + ends
        turn = fold % len(deal)
        assigned.update(zip(sorted(names), deal[turn:] + deal[:turn], strict=True))
    return assigned
