# One image for web, worker and every management command. It has no embedded servers: give it DATABASE_URL and REDIS_URL.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=config.settings HOST=0.0.0.0 PORT=8000
WORKDIR /app

COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt

COPY . .
RUN useradd --system --no-create-home hookhub
USER hookhub

EXPOSE 8000
# The commands are the Procfile's.
CMD ["python", "manage.py", "run", "web"]
