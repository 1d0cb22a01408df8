"""The admin's forms, which validate with the same rules as the API."""
