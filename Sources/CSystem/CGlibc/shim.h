// What Swift's overlay of glibc leaves out.
// SPDX-License-Identifier: Apache-2.0
#ifndef MARSAD_CGLIBC_H
#define MARSAD_CGLIBC_H

#include <malloc.h>
#include <sys/random.h>

#endif
