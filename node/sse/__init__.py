"""Server-sent events without Bayeux: `GET /sse?channel=/a&channel=/b`."""
