"""Shared infrastructure: files on any filesystem, stage directories and their manifests, Beam runs, YAML configs, text tables."""
