"""The named readers of recipes."""

from neuroleon.data_pipeline.readers.base import Reader
from neuroleon.data_pipeline.readers.bci2_p300 import locate_bci2_p300, read_bci2_p300
from neuroleon.data_pipeline.readers.mne_raw import locate_mne, read_mne
from neuroleon.data_pipeline.readers.muse import read_muse
from neuroleon.data_pipeline.readers.npz_trials import read_npz_trials

READERS: dict[str, Reader] = {
    "mne": Reader(read_mne, locate_mne),
    "npz_trials": Reader(read_npz_trials),
    "muse": Reader(read_muse),
    "bci2_p300": Reader(read_bci2_p300, locate_bci2_p300),
}
