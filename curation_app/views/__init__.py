"""The pages, a blueprint per noun."""

from curation_app.views import accounts, packs, pictures, tasks

BLUEPRINTS = (accounts.blueprint, packs.blueprint, pictures.blueprint, tasks.blueprint)

PAGES = (
    ("pictures", "pictures.grid", "Pictures"),
    ("packs", "packs.index", "Packs"),
    ("accounts", "accounts.index", "Account"),
)
"""Blueprint, page and text of each link in the head of every page."""
