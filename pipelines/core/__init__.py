"""Foundations of all jobs: files on any filesystem, stages and their directories, Beam, YAML configs, text tables."""
