"""TLS for clients: the same reactor and connections, behind a socket that encrypts."""

from node.tls.certificates import CertificateError, Certificates, build_context
from node.tls.handshake import TlsListener
from node.tls.socket import TlsSocket

__all__ = ["CertificateError", "Certificates", "TlsListener", "TlsSocket", "build_context"]
