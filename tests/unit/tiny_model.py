"""A whole model folder of real, untrained parts, small and quick to make, for the tests of decoding and sample.py."""

from pathlib import Path

import numpy as np
import torch
from tiny_eeg import telling_labels

from neuroleon.common.files import atomic_folder, write_json
from neuroleon.decoding.labels import Label, LabelSet, save_labels
from neuroleon.model.config import ModelConfig
from neuroleon.model.transformer import Neuroleon
from neuroleon.model.weights import save_model
from neuroleon.signals.preprocess import Preprocess
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer
from neuroleon.tokenizers.image import ImageTokenizer
from neuroleon.tokenizers.text import TextTokenizer
from neuroleon.tokenizers.vocabulary import Vocabulary
from neuroleon.tokenizers.vqgan import VQGAN, VQGANConfig

EEG = EEGTokenizerConfig(dim=16, heads=2, sources=4, encoder_layers=1, decoder_layers=1, levels=4, codes=8, code_dim=4)
IMAGE = VQGANConfig(resolution=16, patch=2, ch=32, ch_mult=(1, 2), z_channels=8, codebook_size=16, code_dim=4)
QUESTION = "Circle or square?"


def write_model(folder: Path, *, other_image_tokenizer: bool = False, background: bool = True) -> None:
    """Write a model folder; with `other_image_tokenizer` one whose vocabulary was made with another tokenizer, without
    `background` one that reads the power of rhythms as it is."""
    torch.manual_seed(0)
    text = TextTokenizer.train(["a circle was shown", "a square was shown", QUESTION], 300)
    image = ImageTokenizer(VQGAN(IMAGE), torch.randn(IMAGE.codebook_size, IMAGE.code_dim))
    network = telling_labels(EEGNetwork(EEG))
    if not background:
        network.encoder.evidence.usual_background = None
    # the library starts codebooks at their first data
    network.quantizer(torch.randn(256, EEG.latent_dim), torch.full((256,), EEG.levels))
    eeg = EEGTokenizer(EEG, Preprocess(), network)
    vocabulary = Vocabulary.of(text=text, image=image, eeg=eeg)
    books = {
        vocabulary.image.start: torch.from_numpy(image.codebook),
        vocabulary.eeg.start: torch.from_numpy(eeg.codebook),
    }
    sizes = ModelConfig(dim=32, depth=1, heads=2, kv_heads=1, dim_head=16, max_length=256)
    model = Neuroleon(sizes, vocabulary.size, books, {vocabulary.eeg.start: eeg.tokens_per_step})
    with torch.no_grad():
        model.head.weight.normal_(std=0.3)
    pictures = {"circle": np.full((16, 16, 3), 30, np.uint8), "square": np.full((16, 16, 3), 220, np.uint8)}
    labels = {
        name: Label(text=name, wordings=(f"a {name} was shown",), pictures=(pictures[name],)) for name in pictures
    }
    if other_image_tokenizer:
        image = ImageTokenizer(VQGAN(IMAGE), torch.randn(IMAGE.codebook_size, IMAGE.code_dim))
    with atomic_folder(folder) as temporary:
        save_model(model, temporary)
        vocabulary.save(temporary / "vocabulary.json")
        for name, tokenizer in (("text", text), ("image", image), ("eeg", eeg)):
            tokenizer.save(temporary / "tokenizers" / name)
        write_json(temporary / "preprocess.json", Preprocess().to_json())
        save_labels({"shapes": LabelSet(labels=labels, question=QUESTION, duration_s=1.0)}, temporary)
