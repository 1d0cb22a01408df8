"""Statements as they are passed to psycopg."""

from deliveries.db import sql
from deliveries.pipeline import claiming, fanning_out


def test_psycopg_parses_the_statements_of_the_pipeline_only_once() -> None:
    statements = (fanning_out.TAKE_EVENTS, fanning_out.INSERT_DELIVERIES, claiming.LOCK_WEBHOOKS, claiming.CLAIM)

    assert max(len(sql.to_short(statement)) for statement in statements) <= sql.MAX_PARSED_ONCE


def test_a_long_statement_loses_only_its_indentation() -> None:
    long = "SELECT 1,\n    -- two lines\n       2" + "\n" * sql.MAX_PARSED_ONCE

    assert sql.to_short(long).startswith("SELECT 1,\n-- two lines\n2\n")
    assert sql.to_short("SELECT\n  1") == "SELECT\n  1"
