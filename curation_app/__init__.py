"""Rank, merge and approve pictures in the browser; loads without torch."""
