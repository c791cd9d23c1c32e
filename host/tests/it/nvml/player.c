/* A library that plays NVML: the functions that monitor-nvml asks for, with answers from a text file.
 *
 * Enters: the file that NVML_PLAYER names, read again at each call: lines "KEY VALUE". Leaves: what the driver would say,
 * and a line "SYMBOL DEVICE" for each call in the file of the same name with ".calls" behind it. Never: makes an answer
 * up: a key that is not in the file is NVML_ERROR_NOT_SUPPORTED.
 *
 * A device is "0", or "0/1" for the second place for an instance in the first GPU. The error CODE of a function is
 * "SYMBOL.error CODE" for all devices, or "DEVICE.SYMBOL.error CODE"; "DEVICE.error CODE" is that of all its functions,
 * and "error CODE" of all there are but nvmlInit and nvmlShutdown. Handles are good until the next nvmlInit. */

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { UNSIGNED_INT = 1 };
enum { TOTAL_POWER_SAMPLES = 0 };

typedef int nvmlReturn_t;
typedef void *nvmlDevice_t;
typedef union { double d; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; } nvmlValue_t;
typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType;
    nvmlReturn_t nvmlReturn;
    nvmlValue_t value;
} nvmlFieldValue_t;
typedef struct { unsigned long long timeStamp; nvmlValue_t sampleValue; } nvmlSample_t;
typedef struct { unsigned gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } nvmlMemory_v2_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned initialised, generation;

/* The file's text; the caller frees it. */
static char *text(void) {
    const char *path = getenv("NVML_PLAYER");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    struct stat about;
    char *all = NULL;
    if (file < 0) return calloc(1, 1);
    if (fstat(file, &about) == 0 && (all = calloc(1, (size_t)about.st_size + 1)))
        if (read(file, all, (size_t)about.st_size) < 0) all[0] = 0;
    close(file);
    return all ? all : calloc(1, 1);
}

/* The value of the first line with this key behind `from`; NULL if there is none. */
static const char *find(const char *from, const char *key) {
    size_t length = strlen(key);
    for (const char *line = from; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, key, length) == 0 && line[length] == ' ') return line + length + 1;
    return NULL;
}

static void device_name(nvmlDevice_t device, char *name, size_t size) {
    unsigned index = ((uintptr_t)device >> 8 & 0xff) - 1, place = (uintptr_t)device & 0xff;
    if (place) snprintf(name, size, "%u/%u", index, place - 1);
    else snprintf(name, size, "%u", index);
}

static nvmlDevice_t handle(unsigned index, unsigned place) {
    return (nvmlDevice_t)((uintptr_t)generation << 16 | (uintptr_t)(index + 1) << 8 | place);
}

/* One call: who is asked, and what the file says. */
typedef struct { char *text; char device[16]; nvmlReturn_t answer; } Call;

static Call begin(const char *symbol, nvmlDevice_t device, int about_device) {
    Call call = {NULL, "", SUCCESS};
    char key[128];
    const char *code, *path = getenv("NVML_PLAYER");
    pthread_mutex_lock(&lock);
    call.text = text();
    if (about_device) device_name(device, call.device, sizeof call.device);
    snprintf(key, sizeof key, "%s.calls", path ? path : "/dev/null");
    int calls = open(path ? key : "/dev/null", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (calls >= 0) {
        dprintf(calls, "%s %s\n", symbol, call.device);
        close(calls);
    }
    snprintf(key, sizeof key, "%s.error", symbol);
    code = find(call.text, key);
    if (!code && strcmp(symbol, "nvmlInit_v2") && strcmp(symbol, "nvmlShutdown")) code = find(call.text, "error");
    snprintf(key, sizeof key, "%s.%s.error", call.device, symbol);
    if (about_device && !code) code = find(call.text, key);
    snprintf(key, sizeof key, "%s.error", call.device);
    if (about_device && !code) code = find(call.text, key);
    if (code) call.answer = atoi(code);
    else if (!initialised && strcmp(symbol, "nvmlInit_v2")) call.answer = UNINITIALIZED;
    else if (about_device && (uintptr_t)device >> 16 != generation) call.answer = INVALID_ARGUMENT;
    return call;
}

static nvmlReturn_t end(Call *call, nvmlReturn_t answer) {
    free(call->text);
    pthread_mutex_unlock(&lock);
    return answer;
}

/* What the file says of this device, or NULL. */
static const char *told(const Call *call, const char *what) {
    char key[64];
    snprintf(key, sizeof key, "%s.%s", call->device, what);
    return find(call->text, key);
}

static nvmlReturn_t number(const Call *call, const char *what, unsigned long long *value) {
    const char *found = told(call, what);
    if (found) *value = strtoull(found, NULL, 10);
    return found ? SUCCESS : NOT_SUPPORTED;
}

static nvmlReturn_t line(const char *found, char *out, unsigned size) {
    size_t length = found ? strcspn(found, "\n") : 0;
    if (!found) return NOT_FOUND;
    if (length + 1 > size) return INSUFFICIENT_SIZE;
    memcpy(out, found, length);
    out[length] = 0;
    return SUCCESS;
}

#define BEGIN(about, device) \
    Call call = begin(__func__, device, about); \
    if (call.answer != SUCCESS) return end(&call, call.answer)

nvmlReturn_t nvmlInit_v2(void) {
    BEGIN(0, NULL);
    initialised++;
    generation++;
    return end(&call, SUCCESS);
}

nvmlReturn_t nvmlShutdown(void) {
    BEGIN(0, NULL);
    initialised--;
    return end(&call, SUCCESS);
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned size) {
    BEGIN(0, NULL);
    return end(&call, line(find(call.text, "driver"), version, size));
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    BEGIN(0, NULL);
    const char *gpus = find(call.text, "gpus");
    *count = gpus ? (unsigned)atoi(gpus) : 0;
    return end(&call, SUCCESS);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
    nvmlDevice_t wanted = handle(index, 0);
    BEGIN(1, wanted);
    *device = wanted;
    return end(&call, told(&call, "uuid") ? SUCCESS : INVALID_ARGUMENT);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned size) {
    BEGIN(1, device);
    return end(&call, line(told(&call, "uuid"), uuid, size));
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned size) {
    BEGIN(1, device);
    return end(&call, line(told(&call, "name"), name, size));
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    BEGIN(1, device);
    unsigned long long both = 0;
    nvmlReturn_t answer = number(&call, "capability", &both);
    *major = (int)(both / 10);
    *minor = (int)(both % 10);
    return end(&call, answer);
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *energy) {
    BEGIN(1, device);
    return end(&call, number(&call, "energy", energy));
}

/* For those that answer with one unsigned int. */
#define PLAIN(function, what) \
    nvmlReturn_t function(nvmlDevice_t device, unsigned *value) { \
        BEGIN(1, device); \
        unsigned long long found = 0; \
        nvmlReturn_t answer = number(&call, what, &found); \
        *value = (unsigned)found; \
        return end(&call, answer); \
    }

PLAIN(nvmlDeviceGetPowerUsage, "power_usage")
PLAIN(nvmlDeviceGetMaxMigDeviceCount, "places")
PLAIN(nvmlDeviceGetGpuInstanceId, "gpu_instance")
PLAIN(nvmlDeviceGetComputeInstanceId, "compute_instance")

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values) {
    BEGIN(1, device);
    for (int i = 0; i < count; i++) {
        char key[32];
        unsigned long long found = 0;
        snprintf(key, sizeof key, "field%u", values[i].fieldId);
        values[i].nvmlReturn = number(&call, key, &found);
        values[i].valueType = UNSIGNED_INT;
        values[i].value.ui = (unsigned)found;
        snprintf(key, sizeof key, "field%u.error", values[i].fieldId);
        if (number(&call, key, &found) == SUCCESS) values[i].nvmlReturn = (nvmlReturn_t)found;
    }
    return end(&call, SUCCESS);
}

/* Lines "DEVICE.sample MICROSECONDS MILLIWATTS". */
nvmlReturn_t nvmlDeviceGetSamples(nvmlDevice_t device, int type, unsigned long long last, int *value_type,
                                  unsigned *count, nvmlSample_t *samples) {
    BEGIN(1, device);
    unsigned room = *count, found = 0;
    const char *next = told(&call, "sample");
    if (type != TOTAL_POWER_SAMPLES || !next) return end(&call, NOT_SUPPORTED);
    char key[32];
    snprintf(key, sizeof key, "%s.sample", call.device);
    for (; next; next = find(next, key)) {
        unsigned long long time = 0;
        unsigned mw = 0;
        sscanf(next, "%llu %u", &time, &mw);
        if (time <= last) continue;
        if (samples && found < room) samples[found] = (nvmlSample_t){time, {.ui = mw}};
        found++;
    }
    *value_type = UNSIGNED_INT;
    /* The size that it asks for is that of its buffer, not of what is new. */
    *count = samples ? (found < room ? found : room) : found + 2;
    return end(&call, found ? SUCCESS : NOT_FOUND);
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates) {
    BEGIN(1, device);
    unsigned long long gpu = 0, memory = 0;
    nvmlReturn_t answer = number(&call, "utilization", &gpu);
    number(&call, "memory_utilization", &memory);
    *rates = (nvmlUtilization_t){(unsigned)gpu, (unsigned)memory};
    return end(&call, answer);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    BEGIN(1, device);
    if (memory->version != (sizeof *memory | 2u << 24)) return end(&call, 25);
    nvmlReturn_t answer = number(&call, "memory_total", &memory->total);
    number(&call, "memory_used", &memory->used);
    memory->reserved = 0;
    memory->free = memory->total - memory->used;
    return end(&call, answer);
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned *celsius) {
    BEGIN(1, device);
    unsigned long long found = 0;
    nvmlReturn_t answer = sensor == 0 ? number(&call, "temperature", &found) : INVALID_ARGUMENT;
    *celsius = (unsigned)found;
    return end(&call, answer);
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, int clock, unsigned *mhz) {
    BEGIN(1, device);
    char key[32];
    unsigned long long found = 0;
    snprintf(key, sizeof key, "clock%d", clock);
    nvmlReturn_t answer = number(&call, key, &found);
    *mhz = (unsigned)found;
    return end(&call, answer);
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *reasons) {
    BEGIN(1, device);
    return end(&call, number(&call, "throttle", reasons));
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending) {
    BEGIN(1, device);
    unsigned long long mode = 0;
    nvmlReturn_t answer = number(&call, "mig", &mode);
    *current = *pending = (unsigned)mode;
    return end(&call, answer);
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned place, nvmlDevice_t *part) {
    BEGIN(1, device);
    Call of_part = call;
    *part = (nvmlDevice_t)((uintptr_t)device | (place + 1));
    device_name(*part, of_part.device, sizeof of_part.device);
    return end(&call, told(&of_part, "uuid") ? SUCCESS : NOT_FOUND);
}
