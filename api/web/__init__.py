"""HTTP: routes, tokens, the GraphQL transport, the webhook door, pages."""
