"""The review page: a person looks at a plan, changes it, and saves a revision.

`session` is the review itself, without a browser: state, measuring, undo, journal, revisions.
`page` shows it; `guard` lets only the person who started it in. Figures come from the geometry core
alone, the page computes none.
"""
