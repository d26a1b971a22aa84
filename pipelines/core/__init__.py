"""What all jobs rest on: files on any filesystem, directories of finished stages, Beam, YAML, tables of text."""
