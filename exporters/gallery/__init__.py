"""A static site of packs: any web server hosts it, and it opens from a disk."""
