"""What the environment decides, read once at the edge and checked whole.

A value that cannot be meant is refused by name, with what would be accepted; all such values are
told at once. Secrets are neither repeated in an error nor shown by ``repr``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from api.infra.setting_values import (
    POSTGRES,
    REDIS,
    address,
    as_written,
    flag,
    hours,
    one_of,
    secret_key,
    text,
    time_zone,
    token_secret,
    web_address,
    webhook_secrets,
    weekdays,
    whole,
)


def _setting(
    name: str, parse: Callable[[str], object], default: object, *, secret: bool = False
) -> Any:  # noqa: ANN401 - stands for a value of the field's type
    facts = {"name": name, "parse": parse, "secret": secret}
    return field(default=default, metadata=facts, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is set from outside, with its default."""

    # Engines; unset, the embedded ones of the data folder.
    database_url: str | None = _setting("DATABASE_URL", address(*POSTGRES), None, secret=True)
    # For notifications and locks, where DATABASE_URL goes through PgBouncer.
    database_direct_url: str | None = _setting(
        "DATABASE_DIRECT_URL", address(*POSTGRES), None, secret=True
    )
    redis_url: str | None = _setting("REDIS_URL", address(*REDIS), None, secret=True)
    database_pool: int = _setting("HEADROOM_DATABASE_POOL", whole(2, 1000), 10)
    # Whether that PgBouncer follows prepared statements: 1.21 or newer, told to.
    pooled_statements: bool = _setting("HEADROOM_POOLED_STATEMENTS", flag, default=False)
    # None: where engines.data_dir says this user's data customarily is.
    data_dir: Path | None = _setting("HEADROOM_DATA_DIR", Path, None)

    # Serving.
    env: Literal["production", "development"] = _setting(
        "HEADROOM_ENV", one_of("production", "development"), "production"
    )
    host: str = _setting("HEADROOM_HOST", text, "127.0.0.1")
    port: int = _setting("HEADROOM_PORT", whole(0, 65_535), 8000)
    log_level: str = _setting(
        "HEADROOM_LOG_LEVEL", one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"
    )
    # One request in so many gets a line; 0: none but those that failed.
    access_log_every: int = _setting("HEADROOM_ACCESS_LOG_EVERY", whole(0, 10**9), 0)
    # How long a connection may be idle, and how a process that was told to stop leaves.
    keep_alive_seconds: int = _setting("HEADROOM_KEEP_ALIVE_SECONDS", whole(1, 3600), 5)
    unready_seconds: int = _setting("HEADROOM_UNREADY_SECONDS", whole(0, 600), 0)
    drain_seconds: int = _setting("HEADROOM_DRAIN_SECONDS", whole(1, 3600), 10)

    # The counters; see docs/operations.md for what each bound means.
    journal_max_entries: int = _setting("HEADROOM_JOURNAL_MAX_ENTRIES", whole(1, 10**7), 10_000)
    redis_max_waiting: int = _setting("HEADROOM_REDIS_MAX_WAITING", whole(100, 10**6), 10_000)
    max_skew_ms: int = _setting("HEADROOM_MAX_SKEW_MS", whole(1, 60_000), 1000)

    # Customer tokens: a secret of our own in place of a stored one, and the product's issuer.
    token_secret: str | None = _setting("HEADROOM_TOKEN_SECRET", token_secret, None, secret=True)
    jwks_url: str | None = _setting("HEADROOM_JWKS_URL", web_address, None)
    jwt_issuer: str | None = _setting("HEADROOM_JWT_ISSUER", text, None)
    jwt_audience: str | None = _setting("HEADROOM_JWT_AUDIENCE", text, None)
    # The claim of the product's tokens that holds a customer's key.
    jwt_customer_claim: str = _setting("HEADROOM_JWT_CUSTOMER_CLAIM", text, "sub")

    # Requests a second for each key and token, and how many may come at once; 0 is no limit.
    rate_limit_per_second: int = _setting("HEADROOM_RATE_LIMIT_PER_SECOND", whole(0, 10**6), 0)
    rate_limit_burst: int = _setting("HEADROOM_RATE_LIMIT_BURST", whole(1, 10**6), 100)

    # What one request may ask for.
    max_body_bytes: int = _setting("HEADROOM_MAX_BODY_BYTES", whole(1024, 10**8), 1 << 20)
    max_document_bytes: int = _setting("HEADROOM_MAX_DOCUMENT_BYTES", whole(256, 10**7), 16_384)
    max_document_tokens: int = _setting("HEADROOM_MAX_DOCUMENT_TOKENS", whole(16, 10**6), 2000)
    max_document_depth: int = _setting("HEADROOM_MAX_DOCUMENT_DEPTH", whole(2, 100), 12)
    max_document_aliases: int = _setting("HEADROOM_MAX_DOCUMENT_ALIASES", whole(1, 10_000), 50)
    max_document_directives: int = _setting(
        "HEADROOM_MAX_DOCUMENT_DIRECTIVES", whole(0, 10_000), 50
    )
    max_page_size: int = _setting("HEADROOM_MAX_PAGE_SIZE", whole(1, 10_000), 100)
    max_batch: int = _setting("HEADROOM_MAX_BATCH", whole(1, 10_000), 100)

    # How long each table keeps its rows. Windows of a year are filled from usage events, so
    # these outlast one; the provider's own list of events reaches back 30 days.
    keep_usage_events_days: int = _setting(
        "HEADROOM_KEEP_USAGE_EVENTS_DAYS", whole(400, 36_500), 430
    )
    keep_usage_totals_days: int = _setting(
        "HEADROOM_KEEP_USAGE_TOTALS_DAYS", whole(400, 36_500), 1100
    )
    keep_operations_days: int = _setting("HEADROOM_KEEP_OPERATIONS_DAYS", whole(1, 3650), 30)
    keep_audit_days: int = _setting("HEADROOM_KEEP_AUDIT_DAYS", whole(30, 36_500), 2555)
    keep_webhook_events_days: int = _setting(
        "HEADROOM_KEEP_WEBHOOK_EVENTS_DAYS", whole(31, 36_500), 90
    )
    keep_provider_operations_days: int = _setting(
        "HEADROOM_KEEP_PROVIDER_OPERATIONS_DAYS", whole(31, 36_500), 730
    )
    keep_reconciliation_days: int = _setting(
        "HEADROOM_KEEP_RECONCILIATION_DAYS", whole(31, 36_500), 365
    )
    keep_signature_failures_days: int = _setting(
        "HEADROOM_KEEP_SIGNATURE_FAILURES_DAYS", whole(1, 365), 7
    )

    # The payment provider.
    stripe_secret_key: str | None = _setting("STRIPE_SECRET_KEY", secret_key, None, secret=True)
    stripe_webhook_secrets: tuple[str, ...] = _setting(
        "STRIPE_WEBHOOK_SECRET", webhook_secrets, (), secret=True
    )
    stripe_api_base: str | None = _setting("STRIPE_API_BASE", web_address, None)
    # Requests a second of each process, and how much of that comparing and catching up may take.
    stripe_requests_per_second: int = _setting(
        "HEADROOM_STRIPE_REQUESTS_PER_SECOND", whole(1, 10_000), 20
    )
    stripe_background_percent: int = _setting(
        "HEADROOM_STRIPE_BACKGROUND_PERCENT", whole(1, 100), 50
    )
    # Whether two live subscriptions of one customer are one too many, whatever their plans.
    # When somebody would look, and how long no event may come then; 0 looks away.
    business_zone: str = _setting("HEADROOM_BUSINESS_ZONE", time_zone, "UTC")
    business_hours: str = _setting("HEADROOM_BUSINESS_HOURS", as_written(hours), "09:00-17:00")
    business_days: str = _setting(
        "HEADROOM_BUSINESS_DAYS", as_written(weekdays), "mon,tue,wed,thu,fri"
    )
    webhook_silence_minutes: int = _setting(
        "HEADROOM_WEBHOOK_SILENCE_MINUTES", whole(0, 10_080), 30
    )
    signature_burst: int = _setting("HEADROOM_SIGNATURE_BURST", whole(0, 10**6), 20)
    billing_return_url: str | None = _setting("BILLING_RETURN_URL", web_address, None)
    dunning_enabled: bool = _setting("DUNNING_ENABLED", flag, default=True)

    @property
    def development(self) -> bool:
        """Whether this is somebody's own machine: GraphiQL, introspection and suggestions on."""
        return self.env == "development"

    @property
    def stripe_live(self) -> bool:
        """Whether the secret key moves real money."""
        return "_live_" in (self.stripe_secret_key or "")[:8]

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self:
        """Read every setting; one that is empty counts as unset.

        Raises: SettingsError, telling every setting that cannot be meant.
        """
        given: dict[str, Any] = {}
        problems: list[str] = []
        for one in fields(cls):
            facts = one.metadata
            value = env.get(facts["name"], "").strip()
            if not value:
                continue
            try:
                given[one.name] = facts["parse"](value)
            except ValueError as error:
                shown = "what is set" if facts["secret"] else repr(value)
                problems.append(f"{facts['name']}: {shown} is not {error}.")
        settings = cls(**given)
        if problems := problems or settings._contradictions():
            raise SettingsError(problems)
        return settings

    def _contradictions(self) -> list[str]:
        problems: list[str] = []
        if self.database_direct_url and not self.database_url:
            problems.append("DATABASE_DIRECT_URL: only beside DATABASE_URL.")
        if self.pooled_statements and not self.database_direct_url:
            problems.append("HEADROOM_POOLED_STATEMENTS: only beside DATABASE_DIRECT_URL.")
        if self.jwks_url and not (self.jwt_issuer and self.jwt_audience):
            problems.append(
                "HEADROOM_JWKS_URL: needs HEADROOM_JWT_ISSUER and HEADROOM_JWT_AUDIENCE too, "
                "as a token for somebody else must not be believed here."
            )
        if (self.jwt_issuer or self.jwt_audience) and not self.jwks_url:
            problems.append(
                "HEADROOM_JWT_ISSUER, HEADROOM_JWT_AUDIENCE: only with HEADROOM_JWKS_URL."
            )
        return problems


class SettingsError(ValueError):
    """The environment cannot be meant; ``problems`` has one sentence for each setting."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
