"""What is of the wrong kind is refused in one line, which says what was expected."""

import inspect

import numpy as np
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

PLOTS = sorted(name for name in hd.__all__ if name.startswith("plot_"))
WRONG = (5, "x", None, object(), [object()])


@pytest.mark.parametrize("name", PLOTS)
def test_figures_refuse_what_they_cannot_draw(name):
    """Whatever is given in place of each argument that must be there: in one line."""
    plot = getattr(hd, name)
    needed = [p for p in inspect.signature(plot).parameters.values() if p.default is p.empty]
    for wrong in WRONG:
        with pytest.raises(hd.InputError, match=r"expected|no figure yet") as found:
            plot(*[wrong] * len(needed))
        assert "\n" not in str(found.value)


def test_figures_refuse_other_lengths():
    """With both, as arrays have them."""
    two, three = np.zeros((2, 2)), ["a", "b", "c"]
    with pytest.raises(
        hd.InputError, match=r"correlation: expected numbers, \(3, 3\), found \(2, 2\)"
    ):
        hd.plot_correlation(three, two)
    with pytest.raises(
        hd.InputError, match=r"bounds: expected numbers, \(3, 2\), found a ndarray of 1"
    ):
        hd.plot_intervals(three, np.zeros(3), np.zeros((2, 3)), np.zeros(3), np.zeros(3))
    with pytest.raises(hd.InputError, match="labels: expected a list of texts, found a str"):
        hd.plot_correlation("abc", np.zeros((3, 3)))
    with pytest.raises(hd.InputError, match="ax: expected matplotlib Axes, found a int"):
        hd.plot_correlation(three, np.zeros((3, 3)), 5)


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_kind_is_refused(diffuse, inputs, name):
    """By InputError, not from inside."""
    use, said = CASES[name]
    with pytest.raises(hd.InputError, match=said) as found:
        use(diffuse, inputs)
    assert "\n" not in str(found.value)
