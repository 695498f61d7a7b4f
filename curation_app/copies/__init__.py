"""Copies within a collection: found, shown as groups, joined."""
