"""Python imports this when it starts, where this folder is on PYTHONPATH: no socket to elsewhere in that process.

An audit hook sees every call, whoever imported `socket` before, and cannot be taken off again.
"""

import ipaddress
import socket
import sys


def here(host):
    """Say whether a host is this machine."""
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name that would have to be looked up
        return False


def refuse(event, arguments):
    """Raise PermissionError where a socket is to reach another machine, or its name is looked up elsewhere."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        connection, address = arguments[:2]
        host = address[0] if address and connection.family in (socket.AF_INET, socket.AF_INET6) else None
    else:
        return
    if not here(host):
        raise PermissionError(f"tests reach no other machine: {event} to {host!r}")


sys.addaudithook(refuse)
