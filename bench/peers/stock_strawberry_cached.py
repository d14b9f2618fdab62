"""Stock Strawberry with both of its caches: a document is parsed and validated once."""

import strawberry
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache

from bench.peers.stock_strawberry import Mutation, Query

schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    # One of each for all requests, as is fastest; its own annotation has no word for that.
    extensions=[
        ParserCache(maxsize=100),  # type: ignore[list-item] # as said
        ValidationCache(maxsize=100),  # type: ignore[list-item] # as said
    ],
)
app: "GraphQL[None, None]" = GraphQL(schema)
