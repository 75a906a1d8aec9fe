"""How often intervals hold the truth: 200 noisy data sets, each refitted; docs/model.md.

Prints, of each parameter of `tests/fit/errors/test_coverage.py`, the part of the data sets whose
intervals of 68 and of 95 % hold it, the same of the bootstrap's of 95 %, by how much the answers
scatter in standard errors, and how many independent voxels the program counts.
"""

import argparse
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "fit" / "errors")]
from test_coverage import Case, coverage, make_case  # noqa: E402


def main() -> None:
    """For noise that more and more voxels share."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--count", type=int, default=200)
    words.add_argument("--noise", type=float, default=0.3, help="rms, in parts of the map's")
    words.add_argument(
        "--taps", type=int, nargs="+", default=[1, 2, 3], help="voxels along an axis"
    )
    options = words.parse_args()
    case = make_case()
    for taps in options.taps:
        _show(case, options.count, options.noise, taps)


def _show(case: Case, count: int, noise: float, taps: int) -> None:
    found, n = coverage(case, count, noise, taps), len(case.target.indices)
    print(f"noise shared by {taps}³ voxels: {n} count as {found.independent:.0f}")
    rows = zip(case.space.names, found.few, found.most, found.resampled, found.off, strict=True)
    for name, few, most, resampled, off in rows:
        print(
            f"  {name:20s} 68 %: {100 * few:3.0f}   95 %: {100 * most:3.0f}   "
            f"95 % by bootstrap: {100 * resampled:3.0f}   off by {off:.2f} errors, rms",
            flush=True,
        )


if __name__ == "__main__":
    main()
