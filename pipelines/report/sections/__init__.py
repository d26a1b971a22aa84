"""The page's sections, a module each: what a run's files hold, as parts of the page."""
