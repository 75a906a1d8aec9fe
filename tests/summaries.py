"""Made-up outcomes of fits: what tests leave out is as little as can be."""

from typing import Any

from hpc_diffuser.fit.sampling_error import Convergence
from hpc_diffuser.fit.summary import (
    FitShellRow,
    LastSession,
    MotionSizes,
    Outcome,
    ScoreRule,
    TranslationAlone,
)

SHELL = FitShellRow(
    d_max=None,
    d_min=2.5,
    voxels_work=90,
    voxels_free=10,
    cc=0.5,
    cc_free=0.4,
    cc_half=None,
    cc_star=None,
    cc_translation=0.3,
    cc_free_translation=0.2,
)


def outcome(**known: Any) -> Outcome:
    """Of a fit without modes whose translation is 0.2 Å, but for what is given."""
    made_up: dict[str, Any] = {
        "answer": {"translation_sigma_A": 0.2},
        "answer_is": "made up",
        "scores": {},
        "cc_work": 0.5,
        "cc_free": 0.4,
        "translation_alone": translation_alone(0.3),
        "score": ScoreRule(rule="shell-mean", weights="none"),
        "ceiling": None,
        "shells": (SHELL,),
        "motion": MotionSizes(rms_A=0.3, mean_b_A2=3.0, kinds={}),
        "b_factors": None,
        "b_factors_missing": "nobody has asked",
        "halos": None,
        "last_session": LastSession(
            ranks=1, wall_s=2.0, optimiser_share=None, peak_memory_MB_per_rank=300
        ),
    }
    return Outcome(**made_up | known)


def translation_alone(cc: float | None, sigma_A: float = 0.3, k_sol_eA3: float = 0.0):
    """The baseline, at a sigma, with CC of work and free."""
    return TranslationAlone(
        translation_sigma_A=sigma_A, k_sol_eA3=k_sol_eA3, b_sol_A2=0.0, cc_work=cc, cc_free=cc
    )


def samples(map_error: float, objective_error: float, n: int = 64) -> Convergence:
    """So many samples, with these errors."""
    return Convergence(samples=n, map_error=map_error, objective_error=objective_error)
