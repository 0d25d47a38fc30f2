"""One module a scenario: it starts its servers and its swarm, and returns a `Report`."""
