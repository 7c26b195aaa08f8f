"""Drills: what is promised of a deploy, done on purpose and for real (`make drill`).

`phases` breaks a deploy in every phase, `zero_downtime` deploys and rolls back while files keep
coming; `report` writes what came of it to docs/drills/. Everything goes through make, as from a
terminal, against a local AWS of the drills' own.
"""
