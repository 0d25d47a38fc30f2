"""Cheap clients: thousands a process, raw sockets on one epoll.

They speak only what any client may (HTTP/1.1, Bayeux JSON, RFC 6455) and count
instead of parsing, but for a sampled few that check every message. A swarm
process is driven over its standard input and output (`swarm.orders`).
"""
