"""Rank, merge and approve pictures in the browser; loads without torch.

    python -m curation_app PICTURES     # a folder of class folders, or one with metadata.jsonl

The factory is `curation_app.app.create_app`. Nothing is loaded here: processes that only look at
pictures need neither Flask nor a database.
"""
