"""The named readers of recipes."""

from neuroleon.data_pipeline.readers.alljoined1 import locate_alljoined1, read_alljoined1
from neuroleon.data_pipeline.readers.alljoined_16m import locate_alljoined_16m, read_alljoined_16m
from neuroleon.data_pipeline.readers.alljoined_flat import locate_alljoined_flat, read_alljoined_flat
from neuroleon.data_pipeline.readers.base import Reader
from neuroleon.data_pipeline.readers.bci2_p300 import locate_bci2_p300, read_bci2_p300
from neuroleon.data_pipeline.readers.bids import locate_bids, read_bids
from neuroleon.data_pipeline.readers.brainomni_pt import locate_brainomni_pt, read_brainomni_pt
from neuroleon.data_pipeline.readers.cbramod_lmdb import locate_cbramod_lmdb, read_cbramod_lmdb
from neuroleon.data_pipeline.readers.deap import locate_deap, read_deap
from neuroleon.data_pipeline.readers.eeg_imagenet import locate_eeg_imagenet, read_eeg_imagenet
from neuroleon.data_pipeline.readers.faced import locate_faced, read_faced
from neuroleon.data_pipeline.readers.imagenet_eeg import locate_imagenet_eeg, read_imagenet_eeg
from neuroleon.data_pipeline.readers.labram_hdf5 import locate_labram_hdf5, read_labram_hdf5
from neuroleon.data_pipeline.readers.mne_raw import locate_mne, read_mne
from neuroleon.data_pipeline.readers.moabb_runs import locate_moabb, read_moabb
from neuroleon.data_pipeline.readers.muse import read_muse
from neuroleon.data_pipeline.readers.neurolm_pickle import locate_neurolm_pickle, read_neurolm_pickle
from neuroleon.data_pipeline.readers.nod_eeg import locate_nod_eeg, read_nod_eeg
from neuroleon.data_pipeline.readers.npz_trials import read_npz_trials
from neuroleon.data_pipeline.readers.seed import locate_seed, read_seed
from neuroleon.data_pipeline.readers.things_eeg1 import locate_things_eeg1, read_things_eeg1
from neuroleon.data_pipeline.readers.things_eeg2 import locate_things_eeg2, read_things_eeg2
from neuroleon.data_pipeline.readers.things_eeg2_raw import locate_things_eeg2_raw, read_things_eeg2_raw
from neuroleon.data_pipeline.readers.tuh import locate_tuh, read_tuh
from neuroleon.data_pipeline.readers.zuco import locate_zuco, read_zuco

READERS: dict[str, Reader] = {
    "mne": Reader(read_mne, locate_mne),
    "npz_trials": Reader(read_npz_trials),
    "muse": Reader(read_muse),
    "bci2_p300": Reader(read_bci2_p300, locate_bci2_p300),
    "imagenet_eeg": Reader(read_imagenet_eeg, locate_imagenet_eeg),
    "eeg_imagenet": Reader(read_eeg_imagenet, locate_eeg_imagenet),
    "things_eeg1": Reader(read_things_eeg1, locate_things_eeg1),
    "things_eeg2": Reader(read_things_eeg2, locate_things_eeg2),
    "things_eeg2_raw": Reader(read_things_eeg2_raw, locate_things_eeg2_raw),
    "nod_eeg": Reader(read_nod_eeg, locate_nod_eeg),
    "alljoined1": Reader(read_alljoined1, locate_alljoined1),
    "alljoined_16m": Reader(read_alljoined_16m, locate_alljoined_16m),
    "alljoined_flat": Reader(read_alljoined_flat, locate_alljoined_flat),
    "zuco": Reader(read_zuco, locate_zuco),
    "tuh": Reader(read_tuh, locate_tuh),
    "seed": Reader(read_seed, locate_seed),
    "deap": Reader(read_deap, locate_deap),
    "faced": Reader(read_faced, locate_faced),
    "bids": Reader(read_bids, locate_bids),
    "moabb": Reader(read_moabb, locate_moabb),
    "labram_hdf5": Reader(read_labram_hdf5, locate_labram_hdf5),
    "neurolm_pickle": Reader(read_neurolm_pickle, locate_neurolm_pickle),
    "cbramod_lmdb": Reader(read_cbramod_lmdb, locate_cbramod_lmdb),
    "brainomni_pt": Reader(read_brainomni_pt, locate_brainomni_pt),
}
