"""Stands for Celery's shell for AMQP, which nothing here opens; the real one takes a tenth of each worker's start."""


def register_repl(*_: object) -> None:
    """Add no command."""
