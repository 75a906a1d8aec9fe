"""Files in and out: structures, trajectories, modes, maps. gemmi's readers and mdtraj stay here."""
