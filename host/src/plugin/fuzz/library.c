/* The source of library.so: what a preflight looks at, and nothing else, in a few KiB. Made on x86_64 Debian by
 *
 *   gcc -O1 -shared -fPIC -nostdlib -o library.so library.c -lc -s -Wl,--build-id=none \
 *       -Wl,-z,noseparate-code -Wl,-z,max-page-size=4096 -Wl,--hash-style=gnu
 */
#include <stdio.h>
#include <string.h>

const char MONITOR_PLUGIN_MANIFEST[] =
    "monitor-plugin-manifest 1\napi=1.0.0\nrustc=rustc 1.89.0\ntarget=x86_64-unknown-linux-gnu\nname=seed\nversion=0.1.0\n";

const void *_1as_0lib_1header_0root_bmodule_bloader[2] = {MONITOR_PLUGIN_MANIFEST};

int symbols_of_the_c_library(char *to, const char *from, unsigned long n) { return puts(memcpy(to, from, n)); }
