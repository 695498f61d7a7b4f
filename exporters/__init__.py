"""A picture in, an asset out."""
