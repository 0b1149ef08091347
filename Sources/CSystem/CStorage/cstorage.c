// System calls that glibc's Swift overlay does not show.
// SPDX-License-Identifier: Apache-2.0
#include "cstorage.h"
#include <fcntl.h>
#include <unistd.h>

int marsad_syncfs(int fd) { return syncfs(fd); }

int marsad_allocate(int fd, int64_t length) { return posix_fallocate(fd, 0, length); }

void marsad_write_behind(int fd, int64_t offset, int64_t length) {
    sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE);
    if (offset > 8 << 20) posix_fadvise(fd, 0, offset - (8 << 20), POSIX_FADV_DONTNEED);
}
