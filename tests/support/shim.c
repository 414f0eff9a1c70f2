// A disk that fails: preloaded into the command, it makes the n-th call of a kind fail, or write less than was asked.
//
// Only calls on what lies below the directories of ETL_SHIM_DIRS (a colon between two) count, in all threads together.
//   ETL_SHIM_FAULT  "fsync 3 5": the third fsync fails with errno 5; "fsync 3+ 5": that one and all after it;
//                   "write 3 short": the third write takes half of what it is given.
//   ETL_SHIM_LOG    gets "hit" when the fault strikes, and at the end "call <kind> <how many>".
//   ETL_SHIM_TRACE  where set, the log also gets "flushed <path>" and "named <path>" after each such call.
//   ETL_SHIM_SLOW   "write 50": each write takes 50 ms longer.
//   ETL_SHIM_THREADS  so many threads beside the first can be had at a time.
//   ETL_SHIM_CLOCK  the time of day is so many seconds ahead.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { OPEN, READ, PREAD, WRITE, PWRITE, COPY, FSYNC, FDATASYNC, RANGE, TRUNCATE, ALLOCATE, RENAME, LINK, UNLINK, MKDIR, KINDS };
static const char *const NAMES[KINDS] = {"open",      "read", "pread",    "write",  "pwrite", "copy",   "fsync",
                                         "fdatasync", "sync_file_range", "ftruncate", "fallocate", "rename", "link", "unlink", "mkdir"};
static atomic_long calls[KINDS];

// errno, SHORT, or 0: the call is let through.
enum { SHORT = -1 };

// Not through the functions below.
static void say(const char *text) {
    const char *path = getenv("ETL_SHIM_LOG");
    long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd >= 0) {
        syscall(SYS_write, fd, text, strlen(text));
        syscall(SYS_close, fd);
    }
}

__attribute__((destructor)) static void say_calls(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        char text[64];
        snprintf(text, sizeof text, "call %s %ld\n", NAMES[kind], atomic_load(&calls[kind]));
        say(text);
    }
}

static int is_watched(const char *path) {
    const char *dirs = getenv("ETL_SHIM_DIRS");
    while (dirs && *dirs) {
        size_t length = strcspn(dirs, ":");
        if (strncmp(path, dirs, length) == 0 && (path[length] == 0 || path[length] == '/')) return 1;
        dirs += length + (dirs[length] == ':');
    }
    return 0;
}

static int strikes(enum kind kind) {
    long number = atomic_fetch_add(&calls[kind], 1) + 1;
    const char *fault = getenv("ETL_SHIM_FAULT"), *slow = getenv("ETL_SHIM_SLOW");
    size_t length = strlen(NAMES[kind]);
    if (slow && strncmp(slow, NAMES[kind], length) == 0 && slow[length] == ' ') usleep((useconds_t)atoi(slow + length) * 1000);
    if (!fault || strncmp(fault, NAMES[kind], length) != 0 || fault[length] != ' ') return 0;
    char *rest;
    long wanted = strtol(fault + length, &rest, 10);
    int and_after = *rest == '+';
    if (number != wanted && !(and_after && number > wanted)) return 0;
    say("hit\n");
    rest += and_after;
    return strcmp(rest, " short") == 0 ? SHORT : (int)strtol(rest, NULL, 10);
}

static int fd_strikes(enum kind kind, int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_watched(path) ? strikes(kind) : 0;
}

static int trace(int result, const char *what, const char *path) {
    if (result != 0 || !getenv("ETL_SHIM_TRACE") || !is_watched(path)) return result;
    char text[PATH_MAX + 32];
    snprintf(text, sizeof text, "%s %s\n", what, path);
    say(text);
    return result;
}

static int trace_fd(int result, const char *what, int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return trace(result, what, path);
}

static int path_strikes(enum kind kind, int dir, const char *path) {
    char whole[PATH_MAX * 2];
    if (path[0] == '/') return is_watched(path) ? strikes(kind) : 0;
    char base[PATH_MAX], link[64] = "/proc/self/cwd";
    if (dir != AT_FDCWD) snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length < 0) return 0;
    base[length] = 0;
    snprintf(whole, sizeof whole, "%s/%s", base, path);
    return is_watched(whole) ? strikes(kind) : 0;
}

// The function that is really meant.
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF(struck)                                                                                                \
    do {                                                                                                               \
        int with = (struck);                                                                                           \
        if (with > 0) {                                                                                                \
            errno = with;                                                                                              \
            return -1;                                                                                                 \
        }                                                                                                              \
    } while (0)

#define OPENS(name, dir, ...)                                                                                          \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                                             \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }                                                                                                                  \
    FAIL_IF(path_strikes(OPEN, dir, path));                                                                            \
    return REAL(name)(__VA_ARGS__, flags, mode)

int open(const char *path, int flags, ...) { OPENS(open, AT_FDCWD, path); }
int open64(const char *path, int flags, ...) { OPENS(open64, AT_FDCWD, path); }
int openat(int dir, const char *path, int flags, ...) { OPENS(openat, dir, dir, path); }
int openat64(int dir, const char *path, int flags, ...) { OPENS(openat64, dir, dir, path); }

// A transfer that may be made to move only half.
#define MOVES(kind, name, fd, size, ...)                                                                               \
    int struck = fd_strikes(kind, fd);                                                                                 \
    FAIL_IF(struck);                                                                                                   \
    if (struck == SHORT && size > 1) size /= 2;                                                                        \
    return REAL(name)(__VA_ARGS__)

ssize_t read(int fd, void *to, size_t size) { MOVES(READ, read, fd, size, fd, to, size); }
ssize_t pread(int fd, void *to, size_t size, off_t at) { MOVES(PREAD, pread, fd, size, fd, to, size, at); }
ssize_t pread64(int fd, void *to, size_t size, off64_t at) { MOVES(PREAD, pread64, fd, size, fd, to, size, at); }
ssize_t write(int fd, const void *from, size_t size) { MOVES(WRITE, write, fd, size, fd, from, size); }
ssize_t pwrite(int fd, const void *from, size_t size, off_t at) { MOVES(PWRITE, pwrite, fd, size, fd, from, size, at); }
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
    MOVES(PWRITE, pwrite64, fd, size, fd, from, size, at);
}
ssize_t writev(int fd, const struct iovec *from, int count) {
    int struck = fd_strikes(WRITE, fd);
    FAIL_IF(struck);
    return struck == SHORT ? REAL(write)(fd, from->iov_base, (from->iov_len + 1) / 2) : REAL(writev)(fd, from, count);
}
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t size, unsigned flags) {
    MOVES(COPY, copy_file_range, out, size, in, in_at, out, out_at, size, flags);
}

int fsync(int fd) {
    FAIL_IF(fd_strikes(FSYNC, fd));
    return trace_fd(REAL(fsync)(fd), "flushed", fd);
}
int fdatasync(int fd) {
    FAIL_IF(fd_strikes(FDATASYNC, fd));
    return trace_fd(REAL(fdatasync)(fd), "flushed", fd);
}
int sync_file_range(int fd, off64_t from, off64_t size, unsigned flags) {
    FAIL_IF(fd_strikes(RANGE, fd));
    return REAL(sync_file_range)(fd, from, size, flags);
}
int ftruncate(int fd, off_t size) {
    FAIL_IF(fd_strikes(TRUNCATE, fd));
    return REAL(ftruncate)(fd, size);
}
int ftruncate64(int fd, off64_t size) {
    FAIL_IF(fd_strikes(TRUNCATE, fd));
    return REAL(ftruncate64)(fd, size);
}
int posix_fallocate(int fd, off_t from, off_t size) {
    // It gives its error back.
    int struck = fd_strikes(ALLOCATE, fd);
    return struck > 0 ? struck : REAL(posix_fallocate)(fd, from, size);
}
int posix_fallocate64(int fd, off64_t from, off64_t size) {
    int struck = fd_strikes(ALLOCATE, fd);
    return struck > 0 ? struck : REAL(posix_fallocate64)(fd, from, size);
}
int fallocate(int fd, int mode, off_t from, off_t size) {
    FAIL_IF(fd_strikes(ALLOCATE, fd));
    return REAL(fallocate)(fd, mode, from, size);
}
int fallocate64(int fd, int mode, off64_t from, off64_t size) {
    FAIL_IF(fd_strikes(ALLOCATE, fd));
    return REAL(fallocate64)(fd, mode, from, size);
}
int rename(const char *from, const char *to) {
    FAIL_IF(path_strikes(RENAME, AT_FDCWD, to));
    return trace(REAL(rename)(from, to), "named", to);
}
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    FAIL_IF(path_strikes(RENAME, to_dir, to));
    return REAL(renameat2)(from_dir, from, to_dir, to, flags);
}
int link(const char *from, const char *to) {
    FAIL_IF(path_strikes(LINK, AT_FDCWD, to));
    return REAL(link)(from, to);
}
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    FAIL_IF(path_strikes(LINK, to_dir, to));
    return REAL(linkat)(from_dir, from, to_dir, to, flags);
}
int unlink(const char *path) {
    FAIL_IF(path_strikes(UNLINK, AT_FDCWD, path));
    return REAL(unlink)(path);
}
int unlinkat(int dir, const char *path, int flags) {
    FAIL_IF(path_strikes(UNLINK, dir, path));
    return REAL(unlinkat)(dir, path, flags);
}
int rmdir(const char *path) {
    FAIL_IF(path_strikes(UNLINK, AT_FDCWD, path));
    return REAL(rmdir)(path);
}
int mkdir(const char *path, mode_t mode) {
    FAIL_IF(path_strikes(MKDIR, AT_FDCWD, path));
    return REAL(mkdir)(path, mode);
}

// How many threads there are beside the first.
static atomic_long threads;

struct start {
    void *(*run)(void *);
    void *with;
};

static void *run_counted(void *given) {
    struct start start = *(struct start *)given;
    free(given);
    void *result = start.run(start.with);
    atomic_fetch_sub(&threads, 1);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *with) {
    const char *most = getenv("ETL_SHIM_THREADS");
    if (!most) return REAL(pthread_create)(thread, attributes, run, with);
    struct start *start = malloc(sizeof *start);
    if (!start) return EAGAIN;
    *start = (struct start){run, with};
    int refused = atomic_fetch_add(&threads, 1) >= atol(most);
    int failed = refused ? EAGAIN : REAL(pthread_create)(thread, attributes, run_counted, start);
    if (failed) {
        atomic_fetch_sub(&threads, 1);
        free(start);
    }
    return failed;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    const char *ahead = getenv("ETL_SHIM_CLOCK");
    int done = (int)syscall(SYS_clock_gettime, clock, now);
    if (done == 0 && ahead && clock == CLOCK_REALTIME) now->tv_sec += atol(ahead);
    return done;
}
