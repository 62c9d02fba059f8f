/* Loaded before libc: counts what a process is about to change below a folder, and at the n-th change kills its group
 * (in the middle of it, where it is a write), refuses, as a full or read-only disk does, or sets the clock back, from
 * then on.
 *
 *   FAULTS_UNDER    folder          FAULTS_AT      n, 0: count only
 *   FAULTS_COUNT    file of 8 bytes FAULTS_ERROR   error number, 0: SIGKILL
 *   FAULTS_BACK     seconds by which the clock is set back in place of either, 0: not
 *
 * They are read when a program starts, or when a forked one calls faults_arm().
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char under[PATH_MAX];
static long at, back, *count;
static int refusal;

__attribute__((constructor)) void faults_arm(void)
{
    const char *folder = getenv("FAULTS_UNDER"), *file = getenv("FAULTS_COUNT");
    if (!folder || !file)
        return;
    int descriptor = open(file, O_RDWR);
    if (descriptor < 0)
        return;
    count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (count == MAP_FAILED) {
        count = NULL;
        return;
    }
    snprintf(under, sizeof under, "%s/", folder);
    at = atol(getenv("FAULTS_AT"));
    refusal = atoi(getenv("FAULTS_ERROR"));
    back = getenv("FAULTS_BACK") ? atol(getenv("FAULTS_BACK")) : 0;
}

static int is_under(int folder, const char *path)
{
    char whole[2 * PATH_MAX] = "", place[64];
    if (!count)
        return 0;
    if (!path || path[0] != '/') {
        if (folder == AT_FDCWD) {
            if (!getcwd(whole, PATH_MAX))
                return 0;
        } else {
            snprintf(place, sizeof place, "/proc/self/fd/%d", folder);
            ssize_t length = readlink(place, whole, PATH_MAX - 1);
            if (length < 0)
                return 0;
            whole[length] = 0;
        }
        strcat(whole, "/");
    }
    strncat(whole, path ? path : "", PATH_MAX);
    return !strncmp(whole, under, strlen(under));
}

/* 0: go on. 1: refuse, errno says why. 2: do half of it and call die(). */
static int meet(void)
{
    long number = __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
    if (!at || number < at || back)
        return 0;
    if (refusal) {
        errno = refusal;
        return 1;
    }
    return number == at ? 2 : 0;
}

static void die(void)
{
    kill(0, SIGKILL);
    for (;;)
        pause();
}

/* What a full disk still does: it takes names away. */
static int is_refused_when_full(int takes_away) { return !(takes_away && refusal == ENOSPC); }

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define MEET(folder, path, takes_away)                                 \
    if (is_under(folder, path) && is_refused_when_full(takes_away)) {  \
        int what = meet();                                             \
        if (what == 1)                                                 \
            return -1;                                                 \
        if (what == 2)                                                 \
            die();                                                     \
    }
#define MEET_WRITE(descriptor, half)                                   \
    if (is_under(descriptor, NULL)) {                                  \
        int what = meet();                                             \
        if (what == 1)                                                 \
            return -1;                                                 \
        if (what == 2) {                                               \
            half;                                                      \
            die();                                                     \
        }                                                              \
    }

static int makes(int folder, const char *path, int flags)
{
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return 1;
    if (flags & O_CREAT && faccessat(folder, path, F_OK, 0))
        return 1;
    return refusal != ENOSPC && flags & (O_WRONLY | O_RDWR);
}

#define OPEN(name)                                                     \
    int name(const char *path, int flags, ...)                         \
    {                                                                  \
        REAL(name);                                                    \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                  \
        if (count && makes(AT_FDCWD, path, flags))                     \
            MEET(AT_FDCWD, path, 0)                                    \
        return real(path, flags, mode);                                \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                   \
    int name(int folder, const char *path, int flags, ...)             \
    {                                                                  \
        REAL(name);                                                    \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                  \
        if (count && makes(folder, path, flags))                       \
            MEET(folder, path, 0)                                      \
        return real(folder, path, flags, mode);                        \
    }
OPENAT(openat)
OPENAT(openat64)

#define OF_PATHS(name, types, names, folder, path, takes_away)         \
    int name types                                                     \
    {                                                                  \
        REAL(name);                                                    \
        MEET(folder, path, takes_away)                                 \
        return real names;                                             \
    }
OF_PATHS(mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, 0)
OF_PATHS(mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), folder, path, 0)
OF_PATHS(rename, (const char *old, const char *new), (old, new), AT_FDCWD, new, 0)
OF_PATHS(renameat, (int from, const char *old, int to, const char *new), (from, old, to, new), to, new, 0)
OF_PATHS(link, (const char *old, const char *new), (old, new), AT_FDCWD, new, 0)
OF_PATHS(symlink, (const char *old, const char *new), (old, new), AT_FDCWD, new, 0)
OF_PATHS(unlink, (const char *path), (path), AT_FDCWD, path, 1)
OF_PATHS(unlinkat, (int folder, const char *path, int flags), (folder, path, flags), folder, path, 1)
OF_PATHS(rmdir, (const char *path), (path), AT_FDCWD, path, 1)
OF_PATHS(fsync, (int descriptor), (descriptor), descriptor, NULL, 0)
OF_PATHS(truncate, (const char *path, off_t length), (path, length), AT_FDCWD, path, 1)
OF_PATHS(truncate64, (const char *path, off64_t length), (path, length), AT_FDCWD, path, 1)
OF_PATHS(ftruncate, (int descriptor, off_t length), (descriptor, length), descriptor, NULL, 1)
OF_PATHS(ftruncate64, (int descriptor, off64_t length), (descriptor, length), descriptor, NULL, 1)

ssize_t write(int descriptor, const void *data, size_t length)
{
    REAL(write);
    MEET_WRITE(descriptor, real(descriptor, data, length / 2))
    return real(descriptor, data, length);
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t place)
{
    REAL(pwrite64);
    MEET_WRITE(descriptor, real(descriptor, data, length / 2, place))
    return real(descriptor, data, length, place);
}

ssize_t writev(int descriptor, const struct iovec *parts, int number)
{
    REAL(writev);
    MEET_WRITE(descriptor, real(descriptor, parts, number / 2))
    return real(descriptor, parts, number);
}

ssize_t sendfile64(int to, int from, off64_t *place, size_t length)
{
    ssize_t (*real)(int, int, off64_t *, size_t) = dlsym(RTLD_NEXT, "sendfile64");
    MEET_WRITE(to, real(to, from, place, length / 2))
    return real(to, from, place, length);
}

ssize_t copy_file_range(int from, off64_t *read, int to, off64_t *place, size_t length, unsigned int flags)
{
    REAL(copy_file_range);
    MEET_WRITE(to, real(from, read, to, place, length / 2, flags))
    return real(from, read, to, place, length, flags);
}

static long seconds_back(void) { return count && at && __atomic_load_n(count, __ATOMIC_SEQ_CST) >= at ? back : 0; }

int clock_gettime(clockid_t clock, struct timespec *now)
{
    REAL(clock_gettime);
    int code = real(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        now->tv_sec -= seconds_back();
    return code;
}
