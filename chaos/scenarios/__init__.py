"""What a scenario is, every scenario, and one for each mutant."""
