// glibc's own view of the heap, which Swift's overlay of it leaves out.
// SPDX-License-Identifier: Apache-2.0
#ifndef MARSAD_CMEMORY_H
#define MARSAD_CMEMORY_H

#include <malloc.h>

#endif
