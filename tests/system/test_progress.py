"""What is shown of a long run: the CC of the best point, best by all of the objective."""

from hpc_diffuser.system import progress


def test_best_is_by_the_objective(monkeypatch):
    """A prior may put a point of lower CC first; of two restarts the better one is shown."""
    told: list[str] = []
    monkeypatch.setattr(progress, "log", told.append)
    monkeypatch.setattr(progress, "LOG_EVERY_S", -1.0)
    shown = progress.Progress(10, 0, True)
    shown._bar = None
    for found in ((0, 0.59, 0.9), (0, 0.56, 0.45), (1, 0.57, 0.6)):
        shown.step(*found)
    assert "best CC 0.5900" in told[0] and "best CC 0.5600" in told[1]
    assert "best CC 0.5600" in told[2] and "evaluation 3/10" in told[2]
    shown.close()
