"""The tests of the exercises' answers, a module for each chapter."""
