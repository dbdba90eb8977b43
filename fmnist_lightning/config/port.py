"""Takes the port of a server before anything is loaded, so that a port in use is reported at once."""

import errno
import socket


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; ValueError if it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"port={port}: in use by another program; choose another, such as port=7861") from None
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            message = (
                "is no address of this machine; 127.0.0.1 is reachable from this machine alone, 0.0.0.0 from others"
            )
            raise ValueError(f"host={host}: {message}") from None
        raise ValueError(f"port={port}: {error.strerror}; ports from 1024 are free for every user") from None


def address_of(listener: socket.socket) -> str:
    """The address of the page."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
