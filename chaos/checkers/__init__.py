"""The checkers: eight rules over the history, their tolerances, the metrics, and whether a run was a valid test."""
