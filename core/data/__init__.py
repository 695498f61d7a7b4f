"""Pictures in, pinned datasets out."""
