"""What is known of people comes back with the folder of a tokenizer, and is used."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_eeg import CONFIG, real_windows, tiny_tokenizer

from neuroleon.signals.preprocess import Preprocess
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer


@pytest.mark.parametrize("kinds", [{"responses": False, "rhythms": True}, {"responses": True, "rhythms": False}])
def test_people_are_saved_and_loaded_whatever_is_known_of_them(tmp_path: Path, kinds: dict[str, bool]) -> None:
    changed = copy.deepcopy(tiny_tokenizer().network)
    evidence = changed.encoder.evidence
    evidence.know(["ann", "bob"], **kinds)
    (own,) = (of for of in (evidence.own, evidence.own_rhythms) if of is not None)
    own.told[:, :2] = 1.0
    own.posterior.same_set[:2, :2] = 1.0
    own.posterior.trust[0, 1:], own.posterior.trust[1, 1:] = 3.0, 0.1
    made = EEGTokenizer(CONFIG, Preprocess(), changed)
    made.save(tmp_path / "eeg")
    loaded = EEGTokenizer.load(tmp_path / "eeg")
    assert (loaded.fingerprint, loaded.subjects) == (made.fingerprint, ("ann", "bob"))
    given = [replace(real_windows()[0], subject=name) for name in ("ann", "bob", None)]
    vectors = [made.quantized([tokens])[0] for tokens in made.encode_windows(given)]
    again = [loaded.quantized([tokens])[0] for tokens in loaded.encode_windows(given)]
    assert all(np.array_equal(a, b) for a, b in zip(vectors, again, strict=True))
    assert not np.array_equal(vectors[0], vectors[1]), "one is trusted, the other is not"
