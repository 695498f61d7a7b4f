"""Sample sets: approved for a pack, and held against the training pictures."""
