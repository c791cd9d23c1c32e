// Counts how often a process allocates: preloaded by xtask/src/bench/allocations.rs, which reads the count.
//
// Enters: ALLOCATIONS_FILE, a file of eight bytes or more. Leaves: in its first eight bytes the number of calls so far.
//
// Never: changes what the system's allocator does; counts what is freed.

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// Names under which the GNU C library keeps its own functions for those who replace them.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

// Until the file is there, the count goes nowhere that anybody looks.
static uint64_t before;
static uint64_t *count = &before;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("ALLOCATIONS_FILE");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *shared = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (shared != MAP_FAILED) count = shared;
}

static void one(void) { __atomic_fetch_add(count, 1, __ATOMIC_RELAXED); }

void *malloc(size_t size) {
    one();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    one();
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    one();
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    one();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **place, size_t alignment, size_t size) {
    one();
    *place = __libc_memalign(alignment, size);
    return *place ? 0 : 12;  // ENOMEM
}
