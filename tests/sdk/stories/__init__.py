"""The same story in every language, run by tests/acceptance/test_sdks.py."""
