# One image for the web server, the worker and all management commands. It has no embedded servers: set DATABASE_URL and
# REDIS_URL.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
FROM ${PYTHON_IMAGE}

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=config.settings HOST=0.0.0.0 PORT=8000
WORKDIR /app

COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt

# The user that runs it must not own the files.
COPY . .
RUN useradd --system --no-create-home --uid 10001 hookhub
USER 10001

EXPOSE 8000
# `run` starts the commands of the Procfile.
CMD ["python", "manage.py", "run", "web"]
