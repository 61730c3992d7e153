"""Small models, exact where possible, that the chapters of the course import."""
