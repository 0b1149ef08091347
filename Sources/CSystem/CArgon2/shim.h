// The reference implementation of Argon2 (RFC 9106), as the system packages it.
// SPDX-License-Identifier: Apache-2.0
#ifndef MARSAD_CARGON2_H
#define MARSAD_CARGON2_H

#include <argon2.h>

#endif
