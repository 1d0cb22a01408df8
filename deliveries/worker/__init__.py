"""What runs inside a Celery worker process: the loop, its slots, the scheduler, shutdown."""
