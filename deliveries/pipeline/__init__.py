"""The life of a delivery, a file a step.

1. ``accept`` stores an event with an entry in the outbox. Once that is committed, the event will be delivered.
2. ``fan_out`` takes events out of the outbox and creates a delivery for each matching webhook. The events of a polling
   webhook go into its queue instead (``poll_queues``), and its receiver fetches them (``deliveries.polling``).
3. ``claim`` leases ready deliveries to this process, fairly across webhooks. Retries become ready when they are due.
4. ``attempt`` renders, signs and starts the requests. The sender runs them, and returns each response or error. Some
   are rendered while their claim is being committed (``render_ahead``); none is sent before that.
5. ``settle`` records the attempts, and moves each delivery to its next state: delivered, failed, or pending a retry.
6. ``review`` disables the webhooks that have failed for too long.

Between the steps, all state is in the database, and each step is one transaction. If a worker dies between the claim
and the settlement, the lease expires and ``rescue`` makes the delivery ready again, so it is sent at least once.
``capacity`` limits the requests in flight, ``request_rates`` gives each request of a webhook with a rate its turn,
``health`` keeps count of how each webhook responds, ``exhausted`` publishes an event for each delivery that has failed
for good, and ``attempt_log`` writes a log line per attempt. The worker's loop calls the steps; what a response means is
decided in ``policy``.
"""

from deliveries.pipeline.accepting import accept
from deliveries.pipeline.fanning_out import fan_out
from deliveries.pipeline.claiming import claim
from deliveries.pipeline.attempting import attempt
from deliveries.pipeline.settling import settle
from deliveries.pipeline.reviewing import review

__all__ = ["accept", "fan_out", "claim", "attempt", "settle", "review"]
