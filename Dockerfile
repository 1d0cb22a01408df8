# One image for web, worker and every management command. It has no embedded servers: give it DATABASE_URL and REDIS_URL.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
FROM ${PYTHON_IMAGE}

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=config.settings HOST=0.0.0.0 PORT=8000
WORKDIR /app

COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt

# Nothing of it belongs to the user that runs it.
COPY . .
RUN useradd --system --no-create-home --uid 10001 hookhub
USER 10001

EXPOSE 8000
# The commands are the Procfile's.
CMD ["python", "manage.py", "run", "web"]
