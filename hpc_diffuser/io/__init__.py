"""Files in and out. h5py, gemmi's readers and mdtraj stay in here."""
