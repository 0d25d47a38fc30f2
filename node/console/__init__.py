"""The console: the ring, its trees and its load as pictures, live, for operators.

Whoever opens ``/console`` on a node's ops listener makes that node ask the
others once a second what they see (`survey`); what they answer (`sight`)
becomes one picture (`picture`), which all open consoles of the node share
(`feed`). While none is open nobody is asked, and nothing is kept.
"""
