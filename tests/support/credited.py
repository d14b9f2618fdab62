"""A catalog in which actions cost credits, and what operators ask about them."""

CREDITED = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.chat]
name = "Chat"
kind = "metered"

[features.search]
name = "Search"
kind = "metered"

[costs.chat]
credits = 5

[costs.search]
credits = 1

[plans.free]
name = "Free"
features = { chat = "unlimited", search = "unlimited" }
"""

GRANT = """mutation ($customer: String!, $credits: Units!) {
  grantCredits(customer: $customer, credits: $credits, reason: "pilot") { available }
}"""
BALANCE = "query ($customer: String!) { customer(key: $customer) { credits { available } } }"
