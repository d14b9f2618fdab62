"""The suite: real engines, no mocks of our own code, no sleeping."""
