"""The request kit: authentication, authorization, parsing, errors, pagination, rate limits; it knows no view."""
