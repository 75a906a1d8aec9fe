"""Figures that are drawn but not written, where a test is about words, tables and links."""

import pytest


@pytest.fixture
def quick_figures(monkeypatch) -> None:
    """Ten seconds less for each page; `test_page.py` writes all of a run's figures as they are."""
    monkeypatch.setattr("hpc_diffuser.report.page.figure_bytes", lambda drawn, kind: kind.encode())
