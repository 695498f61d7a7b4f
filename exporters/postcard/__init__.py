"""Postcards of imagined animals: picture, call and phrase on paper and on a page.

scene      paths, colours and pictures, in millimetres: what a side of a card is
lettering  text as outlines, so that nobody needs a font
front, back    the two sides
pdf        sides as vector pages with bleed and trim boxes
site       pages that play
work       a folder of cards (jobs/postcards.py)
"""
