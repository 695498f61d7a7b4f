"""LoRA: small changes to a text-to-image pipeline, trained on few pictures and kept as files."""
