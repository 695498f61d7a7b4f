"""The embedded default data: procedural animals in eight classes."""
