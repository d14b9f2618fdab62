"""What the README shows to try works, and answers what it says."""

import re
import shlex
import subprocess
from pathlib import Path

from tests.support.program import HEADROOM, folder, serving
from tests.support.stripe_process import settings_of, stripe_process

README = Path("README.md").read_text(encoding="utf-8")
_SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def tried(begins: str, ends: str, catalog: str, **settings: str) -> str:
    """Paste what stands between two headings into one shell, beside a server of that catalog."""
    part = README[README.index(f"## {begins}\n") : README.index(f"## {ends}\n")]
    assert catalog in README[: README.index(f"## {ends}\n")]
    # The demo has tests of its own, in test_demo.py.
    blocks = [block for block in _SHELL.findall(part) if "headroom demo" not in block]
    with (
        folder() as data_dir,
        serving(data_dir, "--dev", "--catalog", catalog, **settings) as server,
    ):
        script = (
            "\n".join(blocks)
            .replace("http://127.0.0.1:8000", server.address)
            .replace(".venv/bin/headroom", shlex.quote(str(HEADROOM)))
            .replace("/tmp/leads", str(data_dir))  # noqa: S108 - the README's own
            .replace("http://127.0.0.1:12111", settings.get("STRIPE_API_BASE", ""))
            # A person reads it a moment later than a script would.
            .replace(f"{HEADROOM} customers show cleo", _shown("cleo", "starter"))
        )
        done = subprocess.run(  # noqa: S603 - what we tell everybody to run
            ["/bin/sh", "-ec", script],
            env={
                "HEADROOM_DATA_DIR": str(data_dir),
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                **settings,
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _shown(customer: str, plan: str) -> str:
    """Return the script that shows a customer until that plan is there."""
    shown = f"{shlex.quote(str(HEADROOM))} customers show {customer}"
    return f"until {shown} | grep '^plan *{plan}'; do :; done"


def test_a_clone_comes_to_a_refused_call() -> None:
    said = tried("From clone to a refused call", "Credits and holds", "examples/bookkeeper.toml")
    assert 'ratelimit-policy: "tx_analyze/day";q=50;w=86400' in said
    assert '"code":"FREE_CAP_EXCEEDED"' in said
    assert '"limit":50,"used":50' in said
    assert '"unlockedBy":["starter","pro","firm"]' in said
    assert '"code":"FEATURE_NOT_IN_PLAN"' in said


def test_credits_are_given_spent_held_and_given_back() -> None:
    said = tried("Credits and holds", "With Stripe", "examples/leads.toml")
    assert '"code":"INSUFFICIENT_CREDITS"' in said
    assert '"unlockedByPacks":["lead_50"]' in said
    assert '"funding":{"included":0,"charged":1,"credits":5,' in said
    assert '"balance":7' in said
    assert re.search(r"^permanent +2 +5$", said, re.MULTILINE)
    assert '"state":"VOIDED"' in said
    kinds = re.findall(r"^\d+ +\S+ \S+ +(\w+) +(\d+) ", said, re.MULTILINE)
    assert kinds == [("release", "5"), ("hold", "5"), ("spend", "5"), ("grant", "12")]


def test_a_checkout_at_the_simulated_stripe_becomes_a_plan() -> None:
    with stripe_process() as stripe:
        said = tried(
            "With Stripe",
            "What it guarantees",
            "examples/bookkeeper.toml",
            **settings_of(stripe),
        )
    assert "STRIPE_PRICE_FIRM_ADDON=price_" in said
    assert '"url":"https://checkout.stripe.com/' in said
    assert re.search(r"plan +starter  \(of starter\)", said)
    assert re.search(r"^compared +1$", said, re.MULTILINE)
    assert re.search(r"^here:plan:starter +1$", said, re.MULTILINE)
