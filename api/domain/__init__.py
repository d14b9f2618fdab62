"""Rules as pure functions and immutable values; standard library only."""
