"""What is of the wrong kind is refused in one line, which says what was expected."""

import pytest

import hpc_diffuser as hd

CASES = {
    "run": (lambda m, f: hd.open_run(5), "expected a run directory, found 5"),
    "comparison": (lambda m, f: hd.open_comparison(m), "found a DiffuseMap"),
    "config": (lambda m, f: hd.open_config(5), "expected a config"),
    "target of a score": (lambda m, f: hd.score(m, m), "expected a target, or its file"),
    "map of a score": (lambda m, f: hd.score(5, f / "target.h5"), "a map, or its file, found 5"),
    "target": (lambda m, f: hd.save_target(f / "y.h5", m), "expected a Target to save"),
    "map": (lambda m, f: hd.save_map(f / "y.h5", 5), "expected a DiffuseMap to save"),
    "figure": (lambda m, f: hd.plot_shells(m), "expected a Run, or its Summary, found a Diff"),
    "restart": (lambda m, f: hd.fit_restart(f / "fit.toml", 99), "the config has 2 restarts"),
    "number": (lambda m, f: hd.fit_restart(f / "fit.toml", "1"), "a restart's number, from 0"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_kind_is_refused(diffuse, inputs, name):
    """By InputError, not from inside."""
    use, said = CASES[name]
    with pytest.raises(hd.InputError, match=said) as found:
        use(diffuse, inputs)
    assert "\n" not in str(found.value)
