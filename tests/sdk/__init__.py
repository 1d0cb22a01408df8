"""The SDKs in sdk/: what is generated for them, and their tests."""
