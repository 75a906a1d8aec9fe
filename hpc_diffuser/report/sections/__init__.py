"""One module for each section of the page, and the table of them."""
