"""What runs of ``manage.py demo`` leave behind: organizations, which do not count where a person means their own."""

# The slugs of the organizations, and the names of the logins, which end in the time at which the demo was started.
LEFT_BY_A_DEMO = r"^demo-[0-9]{8}-[0-9]{6}$"
