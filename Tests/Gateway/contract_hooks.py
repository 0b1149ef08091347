# What schemathesis has to know of bodies that are no JSON.
# SPDX-License-Identifier: Apache-2.0
import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def text(_, value):
    return str(value).encode("utf-8", "replace")
