"""Alerts: people are told that a webhook keeps failing, was disabled, works again, or ends soon.

``announcing`` decides which channels are told, in the transaction that marks the webhook. ``queue`` leases what is due,
``sending`` sends and records it, ``wording`` says it in words, and ``rendering`` writes these for each type of channel.
``channels`` is what an organization does with its channels, and ``history`` what has been sent.
"""
