"""What the app knows of pictures by looking at them: facts, quality, copies, bias.

Pure functions on bytes and arrays, without database or Flask.
"""
