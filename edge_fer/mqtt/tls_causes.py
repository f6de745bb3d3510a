"""Why there is no encrypted connection, and what to do, in words for people."""

from __future__ import annotations

import re
import ssl
from datetime import datetime, timezone

from edge_fer.login import BrokerAddress

_EXPIRED, _NOT_YET_VALID, _WRONG_NAMES = 10, 9, (62, 63, 64)  # X509_V_ERR_... of OpenSSL's x509_vfy.h
_ALERTS = {
    "CERTIFICATE_REQUIRED": "it wants a certificate of this node: give broker.cert_file and broker.key_file",
    "HANDSHAKE_FAILURE": "it refuses the handshake; perhaps it wants a certificate of this node: broker.cert_file",
    "CERTIFICATE_EXPIRED": "the certificate of this node has expired: renew broker.cert_file",
    "CERTIFICATE_REVOKED": "the certificate of this node is revoked: replace broker.cert_file",
    "UNKNOWN_CA": "it does not know who signed the certificate of this node: check broker.cert_file",
    "BAD_CERTIFICATE": "it does not accept the certificate of this node: check broker.cert_file",
    "CERTIFICATE_UNKNOWN": "it does not accept the certificate of this node: check broker.cert_file",
    "WRONG_VERSION_NUMBER": "it speaks no TLS at this port: check scheme and port of broker.url",
}


def tls_cause(err: ssl.SSLError, address: BrokerAddress) -> str:
    """Why there is no encrypted connection, and what to do; for people."""
    if not isinstance(err, ssl.SSLCertVerificationError):
        return tls_alert(err.reason or "") if err.reason else str(err)
    code = err.verify_code
    if code in (_EXPIRED, _NOT_YET_VALID):
        now = f"{datetime.now(tz=timezone.utc):%Y-%m-%dT%H:%MZ}"
        if code == _EXPIRED:
            return f"its certificate has expired: renew it at the broker (this node's clock says {now})"
        return f"its certificate is not valid yet: check this node's clock, which says {now}"
    if code in _WRONG_NAMES:
        return (
            f"its certificate is for another name than {address.host!r}: in broker.url, use a name that it is for, or "
            "give the broker a certificate for this one"
        )
    return f"its certificate is not trusted, {err.verify_message}: check broker.ca_file"


def other_cause(err: OSError | UnicodeError, address: BrokerAddress) -> str:
    """Why there is no connection at all; for people."""
    cause = getattr(err, "strerror", None) or str(err)
    # A broker without TLS takes the greeting for a broken packet, and hangs up.
    hung_up = isinstance(err, ConnectionResetError) and address.tls
    return f"{cause}; does it speak TLS at port {address.port}?" if hung_up else cause


def tls_alert(reason: str) -> str:
    """What OpenSSL's name of a refusal by the broker means, and what to do."""
    name = re.sub(r"^(SSLV3|TLSV1|TLSV13)_ALERT_", "", reason)
    return _ALERTS.get(name, f"TLS: {reason.lower().replace('_', ' ')}")
