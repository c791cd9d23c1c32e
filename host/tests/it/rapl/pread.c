/* Stands before libc's pread in a host under test (LD_PRELOAD) and makes it fail as the kernel's powercap files do: a file
 * that was removed gives ENODEV, and one that is listed in the file READ_FAULTS gives the error that is listed there. A line
 * is an error's number, a blank, and the end of a path. All other reads are what they were. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ends_with(const char *text, const char *end)
{
    size_t text_length = strlen(text), end_length = strlen(end);
    return text_length >= end_length && strcmp(text + text_length - end_length, end) == 0;
}

static int listed(const char *path)
{
    char text[4096], *rest = text, *line;
    const char *list = getenv("READ_FAULTS");
    int fd = list ? open(list, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length < 0 ? 0 : length] = 0;
    while ((line = strsep(&rest, "\n"))) {
        char *end = strchr(line, ' ');
        if (end && ends_with(path, end + 1))
            return atoi(line);
    }
    return 0;
}

static int fault(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (ends_with(path, "/energy_uj (deleted)"))
        return ENODEV;
    return ends_with(path, "/energy_uj") ? listed(path) : 0;
}

ssize_t pread64(int fd, void *buffer, size_t count, off64_t offset)
{
    int error = fault(fd);
    if (error) {
        errno = error;
        return -1;
    }
    return syscall(SYS_pread64, fd, buffer, count, offset);
}

ssize_t pread(int fd, void *buffer, size_t count, off_t offset)
{
    return pread64(fd, buffer, count, offset);
}
