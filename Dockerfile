# One image for the web server, the worker and all management commands. It has no embedded servers: set DATABASE_URL and
# REDIS_URL.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
FROM ${PYTHON_IMAGE}

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=hookhub.service.settings HOST=0.0.0.0 PORT=8000
WORKDIR /app

# Further lists, separated by spaces: requirements-observability.txt has what metrics and traces need.
ARG REQUIREMENTS=""
COPY requirements*.txt ./
RUN for list in requirements.txt ${REQUIREMENTS}; do pip install --no-cache-dir --require-hashes -r "$list" || exit 1; done

# The user that runs it must not own the files.
COPY . .
RUN useradd --system --no-create-home --uid 10001 hookhub
USER 10001

EXPOSE 8000
# Of the web server; a container that runs a worker or a command has to switch it off. Not through a proxy, which the
# environment may name.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "import os; from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=4)"]
# `run` starts the commands of the Procfile.
CMD ["python", "manage.py", "run", "web"]
