"""Images: one class or several labels for each."""
