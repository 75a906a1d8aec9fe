"""The report of a run as a page: sections of words, figures and tables."""
