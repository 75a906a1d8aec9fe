"""A measured map with three samples per reciprocal-lattice unit: nuclease, from ten stills.

Its maker's table, of shells with all voxels, halos too: completeness, multiplicity, CC of the
two half-maps, and of mates with l and −l. The rigid body of 1STN, moved by 0.4 Å, has CC 0.408 with
halos masked at 3/7 in the mean of eight shells between 10 and 1.75 Å, by an independent direct sum.
"""

from pathlib import Path

import numpy as np
import pytest

from hpc_diffuser.commands.measured_map import MapSource, load_map
from hpc_diffuser.maps.target import TargetOptions, cut_map

# d_max, d_min, complete %, multiplicity, CC of half-maps, CC of l and −l.
TABLE = [
    (10.0, 6.0, 28, 2.2, 0.89, 0.90),
    (6.0, 4.0, 28, 1.9, 0.90, 0.95),
    (4.0, 3.3, 26, 1.9, 0.90, 0.95),
    (3.3, 2.8, 26, 1.9, 0.87, 0.91),
    (2.8, 2.5, 25, 1.9, 0.89, 0.91),
    (2.5, 2.2, 24, 1.9, 0.87, 0.90),
    (2.2, 2.0, 24, 1.9, 0.89, 0.90),
    (2.0, 1.75, 23, 1.8, 0.80, 0.79),
]


@pytest.fixture(scope="module")
def source(data: Path) -> MapSource:
    """The map in 1STN's indices, which are searched for."""
    path, structure = (
        data / "nuclease" / name for name in ("snc_stills_3x_measured.nxs", "1stn.pdb")
    )
    return MapSource(path, structure=structure, reindex="search")


def test_search_and_masked_halos(source):
    """The search tells k,h,−l with about 0.40 from 0.03; 79 067 unique voxels lie outside halos."""
    loaded = load_map(source, TargetOptions(10.0, 1.75))
    assert loaded.reindexing == "k,h,-l"
    ccs = {line.split()[0]: float(line.split()[1]) for line in loaded.said[3:5]}
    assert ccs["k,h,-l"] == pytest.approx(0.40, abs=0.02)
    assert ccs["h,k,l"] == pytest.approx(0.03, abs=0.03)
    cut = cut_map(loaded.diffuse, TargetOptions(1e3, 1.5))
    assert cut.statistics.unique[-1] == pytest.approx(79067, rel=0.01)
    # Of its own range the map has no empty and no thin shell.
    own = cut_map(loaded.diffuse, TargetOptions())
    assert 1.65 < own.target.d_min < 1.72
    working, free = own.target.counts()
    assert working.min() > 0.2 * working.mean() and free.min() > 100


@pytest.mark.parametrize(("d_max", "d_min", "complete", "multiplicity", "half", "laue"), TABLE)
def test_agreement_is_its_makers(source, d_max, d_min, complete, multiplicity, half, laue):
    """To the table's digits. All Laue mates are a little worse than those of l and −l alone.

    Those are nearly all pairs, but at low resolution, where other wedges overlap.
    """
    diffuse = load_map(MapSource(source.path, structure=source.structure, reindex="k,h,-l")).diffuse
    options = TargetOptions(d_max, d_min, halo_radius=0.0, n_shells=1)
    cut = cut_map(diffuse, options)
    found = cut.statistics
    assert 100 * found.completeness[-1] == pytest.approx(complete, abs=0.75)
    assert found.multiplicity[-1] == pytest.approx(multiplicity, abs=0.06)
    assert found.cc_half[-1] == pytest.approx(half, abs=0.006)
    assert found.cc_laue[-1] == pytest.approx(laue, abs=0.05 if d_max == 10 else 0.01)
    np.testing.assert_allclose(cut.target.cc_half(), found.cc_half[:-1], rtol=1e-9)
