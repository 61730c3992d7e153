"""Small models, exact where possible, that the chapters of the course import."""

__all__: list[str] = []  # nothing of its own: import its modules
