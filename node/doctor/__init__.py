"""What an operator should know before a node runs here: checks, each with what to change."""

from node.doctor.findings import Finding, Level, worst

__all__ = ["Finding", "Level", "worst"]
