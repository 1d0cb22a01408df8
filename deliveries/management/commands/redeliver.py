"""``manage.py redeliver``: sends deliveries again, named one by one or found by a filter."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Any
