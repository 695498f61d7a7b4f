"""Training of ×4 upscalers, the project's own and other people's."""
