"""The named readers of recipes."""

from neuroleon.data_pipeline.readers.base import Reader
from neuroleon.data_pipeline.readers.bci2_p300 import locate_bci2_p300, read_bci2_p300
from neuroleon.data_pipeline.readers.deap import locate_deap, read_deap
from neuroleon.data_pipeline.readers.faced import locate_faced, read_faced
from neuroleon.data_pipeline.readers.mne_raw import locate_mne, read_mne
from neuroleon.data_pipeline.readers.muse import read_muse
from neuroleon.data_pipeline.readers.npz_trials import read_npz_trials
from neuroleon.data_pipeline.readers.seed import locate_seed, read_seed
from neuroleon.data_pipeline.readers.tuh import locate_tuh, read_tuh
from neuroleon.data_pipeline.readers.zuco import locate_zuco, read_zuco

READERS: dict[str, Reader] = {
    "mne": Reader(read_mne, locate_mne),
    "npz_trials": Reader(read_npz_trials),
    "muse": Reader(read_muse),
    "bci2_p300": Reader(read_bci2_p300, locate_bci2_p300),
    "zuco": Reader(read_zuco, locate_zuco),
    "tuh": Reader(read_tuh, locate_tuh),
    "seed": Reader(read_seed, locate_seed),
    "deap": Reader(read_deap, locate_deap),
    "faced": Reader(read_faced, locate_faced),
}
