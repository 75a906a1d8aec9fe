"""CC as text."""

from hpc_diffuser.fit.cc_text import cc_column, cc_text


def test_in_a_sentence():
    """Rounded once; what is undefined is said so."""
    assert cc_text(0.69946) == "0.6995" and cc_text(0.69946, 3) == "0.699"
    assert cc_text(-0.5, 2) == "-0.50" and cc_text(None) == "undefined"


def test_in_a_column():
    """Nine letters, whatever it is."""
    assert cc_column(0.25) == "   0.2500" and cc_column(-0.25) == "  -0.2500"
    assert cc_column(None) == "     none"
