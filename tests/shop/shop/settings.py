"""The shop's settings: unlike HookHub's own in all that a project may set."""

import os

SECRET_KEY = "the shop's own secret, long enough for the checks: 0123456789 abcdefghijklmnopqrstuvwxyz"
DEBUG = os.environ.get("SHOP_DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
INSTALLED_APPS = [
    "orders",
    "shop.office.OfficeConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
# All that HookHub needs: neither django.contrib.postgres nor the REST framework.
INSTALLED_APPS += ["deliveries", "hookhub"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "shop.urls"
AUTH_USER_MODEL = "orders.Customer"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["SHOP_DATABASE"],
        "HOST": os.environ["PGHOST"],
        "USER": os.environ["PGUSER"],
        "ATOMIC_REQUESTS": True,
    },
}
if os.environ.get("SHOP_ARCHIVE") == "1":
    DATABASES["archive"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    DATABASE_ROUTERS = [os.environ.get("SHOP_ROUTER", "shop.routers.Archive")]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
USE_TZ = os.environ.get("SHOP_USE_TZ", "1") == "1"
TIME_ZONE = "Asia/Kolkata"
LANGUAGE_CODE = "fr"
USE_THOUSAND_SEPARATOR = True
STATIC_URL = "static/"
STATIC_ROOT = os.environ.get("SHOP_STATIC")
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
LOGIN_URL = "login"
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
# A REST framework for other programs than HookHub's.
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.StaticHTMLRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"anon": "1/day"},
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "EXCEPTION_HANDLER": "shop.nothing.here",
    "PAGE_SIZE": 1,
    "DATETIME_FORMAT": "%d.%m.%Y",
}
if broker := os.environ.get("SHOP_BROKER"):
    CELERY_BROKER_URL = broker
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
