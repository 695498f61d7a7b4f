"""A picture drawn as SVG: regions, shapes, styles, and the smallest that is close enough."""
