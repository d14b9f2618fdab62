"""The conversation with the payment provider."""
