"""The curation database: all SQL of the app, on SQLite or PostgreSQL.

What people do is an append-only log (`actions`, `changes`, `comparisons`); what the pages show of
it (states, stars, classes, tags, scores) is a replay of that log. Functions take a connection, so
that a request decides what belongs into one transaction; once committed, it is on the disk.
"""
