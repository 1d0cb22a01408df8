"""Which event types exist: names, topics, and the catalogues of the vendor systems."""
