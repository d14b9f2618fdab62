from pathlib import Path

import pytest

from api.infra.settings import Settings, SettingsError

_ISSUER = {
    "HEADROOM_JWKS_URL": "https://id.example/keys",
    "HEADROOM_JWT_ISSUER": "https://id.example",
    "HEADROOM_JWT_AUDIENCE": "headroom",
}


def test_an_empty_environment_means_the_defaults() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.env) == ("127.0.0.1", 8000, "production")
    assert settings.database_url is None
    assert not settings.development


def test_an_empty_value_counts_as_unset() -> None:
    assert Settings.from_environment({"HEADROOM_PORT": "", "REDIS_URL": " "}) == Settings()


def test_every_kind_of_value_is_read() -> None:
    settings = Settings.from_environment(
        {
            "DATABASE_URL": "postgresql://headroom@/headroom?host=/run/pg",
            "REDIS_URL": "unix:///run/valkey.sock",
            "HEADROOM_DATA_DIR": "/srv/headroom",
            "HEADROOM_ENV": "development",
            "HEADROOM_PORT": "0",
            "DUNNING_ENABLED": "Off",
            "STRIPE_WEBHOOK_SECRET": "whsec_new, whsec_old",
            "STRIPE_API_BASE": "http://127.0.0.1:12111",
            **_ISSUER,
        }
    )
    assert settings.database_url == "postgresql://headroom@/headroom?host=/run/pg"
    assert settings.redis_url == "unix:///run/valkey.sock"
    assert settings.data_dir == Path("/srv/headroom")
    assert settings.development
    assert settings.port == 0
    assert settings.dunning_enabled is False
    assert settings.stripe_webhook_secrets == ("whsec_new", "whsec_old")
    assert settings.jwt_audience == "headroom"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DATABASE_URL", "mysql://h/x", "postgresql:// or postgres://"),
        ("DATABASE_URL", "postgresql://", "postgresql:// or postgres://"),
        ("DATABASE_URL", "postgresql://h:port/x", "postgresql:// or postgres://"),
        ("DATABASE_URL", "headroom", "postgresql:// or postgres://"),
        ("DATABASE_DIRECT_URL", "postgres://h/x", "only beside DATABASE_URL"),
        ("REDIS_URL", "localhost:6379", "redis:// or rediss:// or unix://"),
        ("REDIS_URL", "http://localhost", "redis:// or rediss:// or unix://"),
        ("HEADROOM_DATABASE_POOL", "1", "from 2 to 1000"),
        ("HEADROOM_ENV", "staging", "'staging' is not production or development"),
        ("HEADROOM_PORT", "65536", "from 0 to 65535"),
        ("HEADROOM_PORT", "-1", "from 0 to 65535"),
        ("HEADROOM_PORT", "8000.0", "'8000.0' is not a whole number"),
        ("HEADROOM_PORT", "٨٠", "a whole number"),
        ("HEADROOM_PORT", "9" * 5000, "a whole number"),
        ("HEADROOM_LOG_LEVEL", "LOUD", "DEBUG or INFO"),
        ("HEADROOM_JOURNAL_MAX_ENTRIES", "0", "from 1 to"),
        ("HEADROOM_MAX_SKEW_MS", "1s", "a whole number"),
        ("HEADROOM_MAX_DOCUMENT_DEPTH", "1", "from 2 to 100"),
        ("HEADROOM_KEEP_USAGE_EVENTS_DAYS", "365", "from 400 to"),
        ("HEADROOM_KEEP_WEBHOOK_EVENTS_DAYS", "30", "from 31 to"),
        ("HEADROOM_TOKEN_SECRET", "hunter2", "at least 32 bytes long"),
        ("HEADROOM_JWKS_URL", "http://id.example/keys", "an https:// address"),
        ("HEADROOM_JWKS_URL", "https://", "an address that begins with https://"),
        ("HEADROOM_JWKS_URL", "https://id.example/keys", "needs HEADROOM_JWT_ISSUER"),
        ("HEADROOM_JWT_AUDIENCE", "headroom", "only with HEADROOM_JWKS_URL"),
        ("STRIPE_SECRET_KEY", "pk_test_1", "a secret or restricted key"),
        ("STRIPE_SECRET_KEY", "sk_test_", "a secret or restricted key"),
        ("STRIPE_WEBHOOK_SECRET", "sk_test_1", "signing secrets"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_a,,whsec_b", "signing secrets"),
        ("STRIPE_API_BASE", "http://stripe.example", "an https:// address"),
        ("BILLING_RETURN_URL", "app.example/billing", "an address that begins with https://"),
        ("DUNNING_ENABLED", "maybe", "'maybe' is not true or false"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(name: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({name: value})
    (problem,) = refused.value.problems
    assert name in problem
    assert told in problem


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"HEADROOM_PORT": "x", "DUNNING_ENABLED": "x"})
    assert [p.split(":")[0] for p in refused.value.problems] == ["HEADROOM_PORT", "DUNNING_ENABLED"]


@pytest.mark.parametrize(
    "name",
    [
        "DATABASE_URL",
        "DATABASE_DIRECT_URL",
        "REDIS_URL",
        "HEADROOM_TOKEN_SECRET",
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
    ],
)
def test_a_secret_is_never_repeated(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({name: "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_settings_can_be_printed_without_their_secrets() -> None:
    settings = Settings.from_environment(
        {
            "DATABASE_URL": "postgresql://u:hunter2@h/x",
            "REDIS_URL": "redis://:hunter2@h",
            "STRIPE_SECRET_KEY": "sk_test_hunter2",
            "STRIPE_WEBHOOK_SECRET": "whsec_hunter2",
            "HEADROOM_TOKEN_SECRET": "hunter2" * 5,
        }
    )
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("key", "live"),
    [("sk_test_1", False), ("sk_live_1", True), ("rk_live_1", True), ("sk_test_a_live_b", False)],
)
def test_a_live_key_is_known_as_one(key: str, *, live: bool) -> None:
    assert Settings.from_environment({"STRIPE_SECRET_KEY": key}).stripe_live is live
