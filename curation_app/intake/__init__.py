"""Bringing pictures in from elsewhere: read with care, kept by digest, merged by plan.

Free of the database and of Flask: an origin (`places`, `links`, `uploads`) is read by
`staging.stage`, which keeps originals and yields candidates; `plan.plan_merge` says what is new.
"""
