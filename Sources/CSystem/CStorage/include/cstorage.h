// System calls that glibc's Swift overlay does not show.
// SPDX-License-Identifier: Apache-2.0
#ifndef MARSAD_CSTORAGE_H
#define MARSAD_CSTORAGE_H
#include <stdint.h>

/// Flushes the whole volume that holds `fd` (syncfs(2)): one call for every open segment of it.
int marsad_syncfs(int fd);

/// Starts writing dirty pages of the range and forgets the clean ones before it, so that recordings,
/// which are seldom read back soon, do not fill the page cache.
void marsad_write_behind(int fd, int64_t offset, int64_t length);

/// Gives the file real blocks (posix_fallocate(3)); 0 or errno.
int marsad_allocate(int fd, int64_t length);
#endif
