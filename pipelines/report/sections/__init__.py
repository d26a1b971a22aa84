"""The page's sections, one module each, which turn the content of a run's files into parts of the page."""
