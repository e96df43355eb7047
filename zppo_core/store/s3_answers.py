"""What an S3 server's refusal means: to be asked again, or without checksums."""

from __future__ import annotations

# 4xx answers that speak of the line, the load or a conditional write meeting another
AGAIN = {
    "RequestTimeout",
    "Throttling",
    "SlowDown",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "ConditionalRequestConflict",
    "OperationAborted",
}
# how stores without checksum headers say so: by the code, or by a word of the message
DIALECT = {"NotImplemented", "XAmzContentSHA256Mismatch", "MissingContentLength"}
OF_CHECKSUMS = (
    "checksum",
    "aws-chunked",
    "trailer",
    "transfer-encoding",
    "content-encoding",
    "x-amz-content-sha256",
    "x-amz-sdk",
)


def refuses_checksums(status: int, code: str, message: str) -> bool:
    """Whether an answer may be to the headers of a checksum rather than to the request.

    Stores that do not know them speak of the header, of its trailer, of the chunks that carry the
    trailer, or say that something is not implemented. Being asked without them does no harm.
    """
    if status not in (400, 403, 411, 501):
        return False
    folded = message.lower()
    return code in DIALECT or any(word in folded for word in OF_CHECKSUMS)
