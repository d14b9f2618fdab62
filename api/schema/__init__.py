"""The GraphQL vocabulary, and its execution."""
