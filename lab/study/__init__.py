"""A study as people use it: run, resume, extend, check, look at and read; the only room that sees all others but `cli`.

Here live the `Study` and its `Result`, status, progress, cost, Ctrl-C, and the range test by itself.
Nothing here trains, proposes or draws: stages, lanes and report do. It may not know the command line.
"""
