"""Verbs that people and SLURM run: parse, print the config, launch."""
