"""`mal-tf run`: the stages of one run, from logs to evaluated exports, resumable."""
