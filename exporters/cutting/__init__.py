"""The animal cut out of its background: by alpha, plain key, GrabCut or a segmentation model."""
