"""Looks inside trained networks: what their layers do, and how pictures come about in them."""
