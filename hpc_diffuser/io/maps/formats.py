"""The formats of diffuse maps, one row each. Loads no arrays: the command line's help needs it.

A new format is a module with a reader, and a row here.
"""

from hpc_diffuser.io.format import Format

_CRYSTAL = ("unit cell", "space group", "errors", "halves")
# The first that knows a file by its content reads it.
MAPS = (
    Format(
        name="native",
        title="native NeXus",
        looks="maps.native.looks_native",
        read="maps.native.read_native",
        write="maps.native.map_bytes",
        endings=(".nxs",),
        keeps_provenance=True,
        cell="in it",
        notes="mdx2, nexusformat, NeXpy and h5web open it",
    ),
    Format(
        name="mdx2",
        title="mdx2 table `hkl_table`",
        looks="maps.mdx.looks_like_table",
        read="maps.mdx.read_table",
        write="maps.mdx.table_bytes",
        measured_only=True,
        cell="in it, or `--cell`",
        notes="merged ones; its groups 0 and 1 are the half-maps",
    ),
    Format(
        name="mdx-lib",
        title="mdx-lib HDF5",
        looks="maps.mdx.looks_like_mdx_lib",
        read="maps.mdx.read_mdx_lib",
        cell="in it",
        notes="(l, k, h) in the file; `--column` of several",
    ),
    Format(
        name="diffuser",
        title="diffuser HDF5 (`diff_intens`)",
        looks="maps.ayyer.looks_like_diffuser",
        read="maps.ayyer.read_diffuser",
        write="maps.ayyer.diffuser_bytes",
        lacks=_CRYSTAL,
        cell="`--cell`",
        notes="000 at size//2; steps in 1/Å, without 2π",
    ),
    Format(
        name="mdx2-map",
        title="mdx2 or NXRefine map",
        looks="maps.mdx.looks_like_map",
        read="maps.mdx.read_map",
        cell="in it, or `--cell`",
        notes="its axes in any order, of NXRefine Ql, Qk, Qh; the data in the file itself, not a "
        "link; `--column` of several",
    ),
    Format(
        name="mtz",
        title="MTZ",
        starts=(b"MTZ ",),
        read="maps.mtz.read_mtz",
        write="maps.mtz.mtz_bytes",
        endings=(".mtz",),
        measured_only=True,
        cell="its own, or `--cell` of a supercell's part",
        notes="IDFF, ID, IMEAN ... or `--column`; SIG and `_half1`, `_half2`; VALM masks; written "
        "as a supercell",
    ),
    Format(
        name="ccp4",
        title="CCP4/MRC",
        looks="maps.ccp4.looks_like_ccp4",
        read="maps.ccp4.read_ccp4",
        write="maps.ccp4.ccp4_bytes",
        endings=(".ccp4", ".map", ".mrc"),
        lacks=("space group", "errors", "halves"),
        cell="the reciprocal one, or `--cell` where it is the whole box's or a step's",
        notes="−1000, −32768 mask; NSTART, else ORIGIN",
    ),
    Format(
        name="eryx",
        title="eryx `.npy`",
        starts=(b"\x93NUMPY",),
        read="maps.eryx.read_eryx",
        cell="`--cell`",
        notes="with its `.yaml` beside it",
    ),
    Format(
        name="lat",
        title="lunus `.lat`",
        looks="maps.lunus.looks_like_lattice",
        read="maps.lunus.read_lattice",
        write="maps.lunus.lattice_bytes",
        endings=(".lat",),
        lacks=_CRYSTAL,
        cell="`--cell`, or by its steps",
        notes="either byte order; −32768 and −32767 mask, or 0",
    ),
    Format(
        name="hkl",
        title="lunus `.hkl`",
        looks="maps.lunus.looks_like_table",
        read="maps.lunus.read_table",
        write="maps.lunus.table_bytes",
        endings=(".hkl",),
        lacks=_CRYSTAL,
        integer_hkl=True,
        measured_only=True,
        cell="`--cell`",
        notes="one voxel for each integer hkl",
    ),
)
WRITTEN = {row.name: row for row in MAPS if row.write}
FORMATS = tuple(WRITTEN)


def markdown() -> str:
    """The rows as the documentation shows them, in Markdown."""
    lines = ["| format | writes | its cell | notes |", "|---|---|---|---|"]
    for row in MAPS:
        by_name = f"`--to {row.name}`" if row.write else ""
        written = ", ".join(f"`{ending}`" for ending in row.endings) or by_name
        lines.append(f"| {row.title} | {written} | {row.cell} | {row.notes} |")
    return "\n".join(lines)
