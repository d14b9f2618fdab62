"""What is sold, and who holds it."""
