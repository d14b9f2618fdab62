"""What was used: counters, the decision, the journal and its drainer."""
