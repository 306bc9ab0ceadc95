"""Remove secrets from untrusted text before it goes into rows, logs and records."""

import os
import re

_HIDDEN = "***"
_SECRET_NAMES = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|API_?KEY|ACCESS_KEY")
_SHORTEST = 6
"""Shorter environment values are not redacted: they also occur in ordinary text."""
_SHAPES = (
    re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]*(?=@)"),  # user:password@
    re.compile(
        r"(?i)(?<=[?&])((?:x-amz-(?:signature|credential|security-token)|signature|sig|token"
        r"|awsaccesskeyid|x-goog-signature)=)[^&\s'\"]+"
    ),
    re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
)


def redact(text: str) -> str:
    """Return `text` with secrets replaced by `***`.

    Secrets are values of environment variables with a telling name, and texts that look like
    credentials.
    """
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and value in text and _SECRET_NAMES.search(name.upper()):
            text = text.replace(value, _HIDDEN)
    for shape in _SHAPES:
        text = shape.sub(lambda found: (found.group(1) if found.lastindex else "") + _HIDDEN, text)
    return text
