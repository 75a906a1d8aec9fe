"""What setup.cfg says is needed, as pip's constraints to the lowest versions."""

import importlib.util
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture
def lowest():
    """The function of `.ci/lowest.py`."""
    script = CHECKOUT / ".ci" / "lowest.py"
    spec = importlib.util.spec_from_file_location("lowest", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lowest


def test_lowest_versions(lowest, tmp_path):
    """Upper limits and comments play no part; what has no lowest version is an error."""
    config = tmp_path / "setup.cfg"
    text = "[options]\ninstall_requires =\n    # why\n    a-b >=1.2,<2\n[options.extras_require]\n"
    config.write_text(f"{text}test =\n    c >=3\n")
    assert lowest(config) == ["a-b==1.2", "c==3"]
    config.write_text(f"{text}test =\n    c\n")
    with pytest.raises(AssertionError, match="c"):
        lowest(config)


def test_every_requirement_has_a_lowest_version(lowest):
    """Of this checkout's own; the program's and those of its tests."""
    names = [line.split("==")[0] for line in lowest()]
    assert {"numpy", "scipy", "numba", "mpi4py", "pytest", "hypothesis"} <= set(names)
    assert len(names) == len(set(names)) >= 15
