"""The named readers of recipes."""

from neuroleon.data_pipeline.readers.base import Reader
from neuroleon.data_pipeline.readers.bci2_p300 import locate_bci2_p300, read_bci2_p300
from neuroleon.data_pipeline.readers.bids import locate_bids, read_bids
from neuroleon.data_pipeline.readers.brainomni_pt import locate_brainomni_pt, read_brainomni_pt
from neuroleon.data_pipeline.readers.cbramod_lmdb import locate_cbramod_lmdb, read_cbramod_lmdb
from neuroleon.data_pipeline.readers.labram_hdf5 import locate_labram_hdf5, read_labram_hdf5
from neuroleon.data_pipeline.readers.mne_raw import locate_mne, read_mne
from neuroleon.data_pipeline.readers.moabb_runs import locate_moabb, read_moabb
from neuroleon.data_pipeline.readers.muse import read_muse
from neuroleon.data_pipeline.readers.neurolm_pickle import locate_neurolm_pickle, read_neurolm_pickle
from neuroleon.data_pipeline.readers.npz_trials import read_npz_trials

READERS: dict[str, Reader] = {
    "mne": Reader(read_mne, locate_mne),
    "npz_trials": Reader(read_npz_trials),
    "muse": Reader(read_muse),
    "bci2_p300": Reader(read_bci2_p300, locate_bci2_p300),
    "bids": Reader(read_bids, locate_bids),
    "moabb": Reader(read_moabb, locate_moabb),
    "labram_hdf5": Reader(read_labram_hdf5, locate_labram_hdf5),
    "neurolm_pickle": Reader(read_neurolm_pickle, locate_neurolm_pickle),
    "cbramod_lmdb": Reader(read_cbramod_lmdb, locate_cbramod_lmdb),
    "brainomni_pt": Reader(read_brainomni_pt, locate_brainomni_pt),
}
