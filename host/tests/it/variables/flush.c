/* Stands before libc's in a host under test (LD_PRELOAD): a disk that takes every write, and can't be flushed. */
#include <errno.h>

int fdatasync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

int fsync(int fd)
{
    return fdatasync(fd);
}
