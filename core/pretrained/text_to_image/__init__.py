"""Pictures of diffusers' text-to-image pipelines, as sample sets like those of our own models."""
