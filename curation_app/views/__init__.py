"""The pages, a blueprint per noun."""

from curation_app.views import (
    accounts,
    api,
    duplicates,
    merging,
    packs,
    pictures,
    progress,
    quality,
    ranking,
    revisions,
    samples,
    tasks,
)

BLUEPRINTS = (
    accounts.blueprint,
    duplicates.blueprint,
    merging.blueprint,
    packs.blueprint,
    pictures.blueprint,
    progress.blueprint,
    quality.blueprint,
    ranking.blueprint,
    revisions.blueprint,
    samples.blueprint,
    tasks.blueprint,
    api.blueprint,  # last: it offers the routes of all others once more
)

PAGES = (
    ("pictures", "pictures.grid", "Pictures"),
    ("ranking", "ranking.show", "Ranking"),
    ("duplicates", "duplicates.index", "Duplicates"),
    ("merging", "merging.index", "Bring in"),
    ("quality", "quality.index", "Quality"),
    ("revisions", "revisions.index", "Revisions"),
    ("samples", "samples.index", "Samples"),
    ("progress", "progress.index", "Progress"),
    ("packs", "packs.index", "Packs"),
    ("api", "api.index", "API"),
    ("accounts", "accounts.index", "Account"),
)
"""Blueprint, page and text of each link in the head of every page."""
