"""Stock Strawberry with both of its caches: a document is parsed and validated once."""

import strawberry
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache

from bench.peers.stock_strawberry import Mutation, Query

schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    extensions=[ParserCache(maxsize=100), ValidationCache(maxsize=100)],
)
app: "GraphQL[None, None]" = GraphQL(schema)
