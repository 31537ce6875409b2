"""Texts: tokens made of them, nets that read these, and a body trained before that makes features of whole texts.

Knows tables only as far as texts stand in their columns.
"""
