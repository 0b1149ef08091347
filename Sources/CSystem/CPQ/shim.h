// PostgreSQL's own client library, as the system packages it.
// SPDX-License-Identifier: Apache-2.0
#ifndef MARSAD_CPQ_H
#define MARSAD_CPQ_H

#include <libpq-fe.h>

#endif
