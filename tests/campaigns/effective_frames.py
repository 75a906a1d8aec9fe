"""How far the number of independent frames by the blocks holds: docs/enough.md, in two minutes.

Autoregressive motion of the first order, whose number is known: F(1 − φ²)/(1 + φ²), φ = e^(−1/τ).
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "motion"))
from test_parts_and_blocks import SCALES, autoregressive, looked_at

INDEPENDENT = [(60, 0), (300, 0)]
LENGTHS = [(3000, 5), (3000, 20), (1000, 10), (3000, 100), (1000, 33), (1000, 60)]
SHORT = [(1000, 100), (300, 30)]


def main() -> None:
    """A row of the table for each length of a run and τ, both in frames."""
    for n_frames, tau in (*INDEPENDENT, *LENGTHS, *SHORT):
        phi = np.exp(-1 / tau) if tau else 0.0
        blocks, least = [], []
        for seed in range(8 if n_frames <= 1000 else 4):
            series = autoregressive(np.random.default_rng(100 + seed), phi, (n_frames, 40))
            found = looked_at(series * SCALES)
            blocks.append(found.independent_blocks)
            least.append(min(found.independent.min(), found.independent_blocks))
        true = n_frames * (1 - phi**2) / (1 + phi**2)
        print(
            f"{n_frames} frames, tau {tau}: {true:.1f}; by the blocks {np.mean(blocks):.1f}, over "
            f"it {np.mean(blocks) / true:.2f}; smallest {np.mean(least):.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
