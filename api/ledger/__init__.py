"""What was granted, set aside and spent: the ledger of credits, and holds."""
