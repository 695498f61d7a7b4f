"""Revisions: frozen, read again, compared."""
