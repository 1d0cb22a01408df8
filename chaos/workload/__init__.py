"""The load of a scenario: events, their publisher, and a receiver that behaves as planned."""
