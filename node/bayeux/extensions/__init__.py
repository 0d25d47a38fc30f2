"""Extensions: what looks at messages on their way in and out, and may add to them or stop them.

Ours and an application's are written on the same four names.
"""

from node.bayeux.extensions.api import Client, Delivery, Exchange, Extension, Veto

__all__ = ["Client", "Delivery", "Exchange", "Extension", "Veto"]
