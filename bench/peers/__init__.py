"""What a team would write by hand, for comparison."""
