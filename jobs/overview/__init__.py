"""Every launch at a glance: what SLURM, the journals and the outputs say, put together."""
