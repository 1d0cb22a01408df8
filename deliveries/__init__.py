"""The delivery engine. This is its map, in the order of a delivery's life; start with ``pipeline``.

=================  ====================================================================================================
``pipeline``       accept, fan out, claim, attempt, settle, review: six functions, and the SQL and rows of each step.
                   Beside them: capacity, rescue of orphaned leases, the health of webhooks, the attempt log.
``policy``         decisions, pure: what a response means, when to retry, when to back off, when to disable, hops
``sending``        one HTTP request: URL rules, DNS, the SSRF guard, libcurl
``formats``        the wire formats: headers, body and signature, a module each; ``signing``, ``compact_json``
``proofs``         the ways in which a URL proves that its receiver wants the requests, a module each; pure
``event_types``    topics, and the catalogues of the vendor systems (``systems``)
``webhooks``       a webhook's fields and their validation, what its owner does with it, its verification and its lease
``redelivery``     redelivery, cancellation, pings and test events; ``missing``: deliveries of events it never got
``polling``        reads the queues of polling webhooks; ``previews``: the request that a delivery would be
``worker``         the loop that runs the pipeline, its slots, the scheduler, the verifier, the database's clock
``maintenance``    pruning, sweeps, incidents, ends of leases, and the invariants of the tables as SQL
``db``             running SQL, arrays as parameters, ids that sort by time
``models``         organization, repository, webhook, verification, event, outbox, delivery, attempt, audit, worker
``events``         the types that ``accept`` takes and returns; ``system_events``: those that HookHub itself publishes
``wakeup``         wake-ups of workers, through Redis and Celery; ``redis_link``: a connection that never waits, to the
                   server of ``redis_address``
``vault``          encryption of secrets, custom headers and URLs
``limits``         an organization's limits; ``rates``: limits per minute, counted in each process, summed in Redis
``names``          names that are unique regardless of case; ``plain_text`` and ``secret_text``: what a name may hold
``audit``          the audit log; ``audited``: what it shows of a webhook, a repository and an organization
``stats``          counts, success rate and latencies of a webhook; ``timeseries``: the same by hour or day
``backlog``        what waits, and for how long
``log_search``     searches the log of deliveries; ``explanations``: why an attempt failed, and what to do
``telemetry``      what the engine reports of its work, for metrics and traces; ``log_lines``: for its log
``workers``        heartbeats; ``shutdown``: the flag that all processes of a worker share; ``version``: HookHub's
``failpoints``     places where tests halt or kill a process
``tasks``          the Celery tasks; ``management``: check_ledger, drain, prune, redeliver, reencrypt_secrets
``defaults``       the settings' defaults; ``setting_types`` refuses others; ``checks``: what a project lacks
``timezone``       times with their zone
=================  ====================================================================================================
"""
