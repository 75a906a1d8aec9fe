"""`info` of a trajectory: what it is, and which command reads it."""

import struct

import pytest

STARTS = {
    "XTC": struct.pack(">3i", 1995, 12, 0),
    "TRR": struct.pack(">3i", 1993, 13, 12) + b"GMX_trn_file",
    "DCD": struct.pack("<i", 84) + b"CORD",
    "NETCDF": b"CDF\x01",
}


@pytest.mark.parametrize("kind", STARTS)
def test_trajectory(call, tmp_path, kind):
    """One line, code 65, by the first bytes and not by the name."""
    (tmp_path / "run.data").write_bytes(STARTS[kind] + bytes(200))
    done = call("info", "run.data")
    assert done.returncode == 65 and done.stderr.count("\n") == 1
    assert f"run.data: a trajectory ({kind})" in done.stderr
    assert "modes --trajectory run.data reads it with its --topology" in done.stderr
