"""Tables: numbers, categories and dates in columns; one target or several."""
