"""Periodic work beside the pipeline: pruning, checking invariants, sweeps."""
