"""Rank, merge and approve pictures in the browser; loads without torch.

python -m curation_app PICTURES     # a folder of class folders, or one with metadata.jsonl
"""

from curation_app.app import create_app

__all__ = ["create_app"]
