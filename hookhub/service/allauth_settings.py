"""The configuration of django-allauth, as far as no variable changes it."""

LOGIN_URL, LOGIN_REDIRECT_URL = "account_login", "/"
ACCOUNT_ADAPTER = "hookhub.sso.adapters.Accounts"
SOCIALACCOUNT_ADAPTER = "hookhub.sso.adapters.SingleSignOn"
MFA_ADAPTER = "hookhub.sso.two_factor.SealedSecrets"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_UNIQUE_EMAIL = False
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SESSION_REMEMBER = False
# Passwords are counted by hookhub.admin.logins; these are wrong codes of an account's second factor.
ACCOUNT_RATE_LIMITS = {"login": "", "login_failed": "5/5m/key"}
# allauth counts in Django's cache, which by default is one in each process.
CACHES = {"default": {"BACKEND": "hookhub.sso.shared_cache.SharedCache"}}
# It is not known whether an address of the provider belongs to the person that has it here.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_QUERY_EMAIL = False
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "HookHub"
# Of 30 s each way: clocks of telephones are a little wrong.
MFA_TOTP_TOLERANCE = 1
MFA_ALLOW_UNVERIFIED_EMAIL = True
