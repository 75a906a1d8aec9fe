"""The paragraph that a fit and its report end with."""

from hpc_diffuser.commands.pages.citing import cite_text


def test_finished_run(call, project):
    """The same in both; of modes that no trajectory has made, without MDTraj."""
    fitted = call("fit", "fit.toml", folder=project)
    told = call("report", "--text", "run", folder=project)
    text = cite_text(project / "run")
    assert text in fitted.stdout and text in told.stdout
    assert "doi:10.1101/2021.02.11.429988" in text and "(search)" in text
    assert "trajectories" not in text
    (project / "modes.h5").unlink()
    told = call("report", "--text", "run", folder=project)
    assert told.returncode == 0 and text in told.stdout, "as far as it can be known"
