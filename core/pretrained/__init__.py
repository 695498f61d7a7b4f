"""Models that others trained, behind our own doors."""
