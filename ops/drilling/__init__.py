"""``ops/drill``: breaks a test ring on purpose, and checks over Prometheus that the alarms work."""
