"""A simulated Stripe for tests; README.md says how to use it."""

from tests.stripe_sim.checking import Misshapen, check
from tests.stripe_sim.simulation import SimulatedStripe, simulated_stripe

__all__ = ["Misshapen", "SimulatedStripe", "check", "simulated_stripe"]
