"""Ratings of items by users, of which most are missing."""
