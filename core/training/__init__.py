"""From a pinned dataset to a run."""
