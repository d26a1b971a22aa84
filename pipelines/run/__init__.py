"""`mal-tf run`: all stages of one run, resumable."""
