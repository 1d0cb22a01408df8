# The delivery engine. This is the map of the package, in the order of a delivery's life. Start with ``pipeline``.
#
# The pipeline: accept, fan out, claim, attempt, settle, review
#   pipeline        the six steps, one function each
#   events          the types that ``accept`` takes and returns
#   queue           the SQL to store events, promote due deliveries, settle results and rescue expired leases
#   fanning_out     create the deliveries of events in the outbox, and claim some of them at once
#   claiming        choose ready deliveries, fairly across webhooks and within each
#   leases          lease tokens, and the rescue of deliveries leased by dead processes of this worker
#   attempts        build one request, classify its result, and convert it to the row of the attempt log
#   health          what a batch of results means for the health of each webhook
#   telemetry       one log line per attempt
#   ids, arrays     UUIDv7 ids; PostgreSQL arrays in binary form, for whole batches as parameters
#   failpoints      places where tests halt or kill a process
#
# Decisions: pure functions
#   outcomes        classify a response or the lack of one
#   retry           when to retry a delivery or give it up, and how long a webhook backs off
#   disabling       when a webhook that keeps failing is disabled
#   hops            the header that stops events from looping through HookHub
#
# Sending
#   sender          many concurrent requests over libcurl's multi interface
#   transfer        one request and its response on a reusable libcurl handle
#   lookups         DNS in daemon threads
#   guard           the SSRF guard: which addresses and ports may be connected to
#   target          validation and normalization of URLs
#   own_hosts       detection of URLs that lead back to HookHub
#   calls           a ``requests`` session over the same sender, for single calls
#
# What is sent
#   formats/        the wire formats: headers, body and signature, one module each
#   signing         HMAC signatures
#   compact_json    JSON as JavaScript writes it
#   catalogue/      the event types that each vendor system documents
#   topics          the strings by which a webhook subscribes to event types
#   dialects        the vendor systems
#
# Webhooks and tables
#   models          organization, repository, webhook, event, outbox, delivery, attempt, audit entry, worker
#   webhooks        create, change, enable, disable and delete a webhook
#   terms, masks    validation of a webhook's fields; masked values that a client sends back
#   vault           encryption of secrets, custom headers and URLs
#   quotas, limits  how many webhooks there may be; an organization's limits
#   rates           limits per minute, counted in each process and summed in Redis
#   names           names that are unique regardless of case
#   plain_text      validation of names and descriptions
#   secret_text     detection of API keys and secrets in text
#   audit, audited  the audit log; what it shows of a webhook, a repository and an organization
#   replay          redelivery, cancellation, pings and test events
#   stats           counts, success rate and latencies of a webhook
#
# The worker
#   tasks           the Celery tasks
#   drain           the loop that runs the pipeline until nothing is due
#   lanes           slots for fast and slow webhooks
#   doorbell        wake-ups of workers, through Celery
#   warm_pool       wake-ups of the worker's own processes, through an inherited pipe
#   clockwork       the scheduler in each worker: due deliveries and maintenance
#   timekeeping     PostgreSQL's clock, kept in each process
#   listening       the Celery transport without unacked bookkeeping
#   stopping        the shutdown flag, shared by the processes of a worker
#   orphans         the exit of a child process whose parent died
#   workers         heartbeats
#
# Maintenance and commands
#   chores          the periodic maintenance tasks
#   retention       deletion of expired deliveries and events in batches
#   ledger          the invariants of events, deliveries and attempts, as SQL
#   management/     check_ledger, drain, prune, redeliver, reencrypt_secrets
#   apps            the Django app configuration
