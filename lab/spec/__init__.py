"""The study as it is written: sections, space, optimizer, batch size, and the trials and jobs that follow from it.

Values only: neither torch, ray, files nor storage.
It may not know tasks beyond their name and options.
"""
