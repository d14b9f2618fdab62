"""B: a hand-written Starlette route with ``request.json()``, one EVALSHA and ``JSONResponse``."""

import os
from pathlib import Path

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

redis: "Redis" = Redis.from_url(os.environ["REDIS_URL"])
script = redis.register_script((Path(__file__).parent / "handwritten.lua").read_text())
LIMIT = 10**12


async def consume(request: Request) -> JSONResponse:
    """Judge and count one call."""
    body = await request.json()
    customer, feature = body["customer"], body["feature"]
    keys = [f"{{{customer}}}:{feature}:day", f"{{{customer}}}:{feature}:month"]
    allowed, day, month = await script(keys, [body["units"], LIMIT, LIMIT])
    answer = {"allowed": bool(allowed), "day": day, "month": month, "limit": LIMIT}
    return JSONResponse(answer, status_code=200 if allowed else 429)


app = Starlette(routes=[Route("/consume", consume, methods=["POST"])])
