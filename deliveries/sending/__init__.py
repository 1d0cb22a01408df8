"""One HTTP request to a receiver: URL rules, DNS, SSRF guard, libcurl."""
