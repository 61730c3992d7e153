"""The tests of the exercises' answers, a module for each chapter."""

__all__: list[str] = []  # nothing of its own: import its modules
