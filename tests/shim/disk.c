/* A disk that can be watched and made to fail, for one process: a library for LD_PRELOAD.
 *
 * It stands between a program and libc. What the program does to the files of one directory and to the connections it
 * accepts is written, in order, into a file both sides share; and calls fail, stall or come up short as that file's
 * first page says. The test on the other side is `tests/src/faulty_disk.rs`, which knows this layout too.
 *
 * Order is what is proved, so it is taken on the safe side: what must have happened before (a write, an fsync) is noted
 * after libc returned; what must come after (an answer) is noted before libc is called. One atomic addition reserves
 * the place of a note and so orders it among the notes of all threads.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAGIC 0x6b736964746d6273ull
#define PAGE 4096
#define RULES 8
#define FILES 65536
/* An answer is told by its status line; the rest of it proves nothing. */
#define ANSWER_BYTES_MAX 64

enum operation { WRITE = 1, SYNC = 2, ALLOCATE = 3, OPEN = 4 };
enum target { LOG = 1, OTHER = 2, DIRECTORY = 4, CONNECTION = 8 };
enum action { FAIL = 1, SHORT = 2, TORN = 3, LOSE = 4, DELAY = 5, SWALLOW = 6 };
enum note { OPENED = 1, CLOSED, WROTE, SYNC_BEGAN, SYNCED, RENAMED, ACCEPTED, RECEIVED, ANSWERING };

struct rule {
    _Atomic uint32_t active;
    uint32_t operation;
    uint32_t targets; /* a set */
    uint32_t action;
    int32_t error;
    uint32_t delay_micros;
    _Atomic int64_t skip;  /* calls that still go well */
    _Atomic int64_t times; /* calls that then do not; negative: all */
    _Atomic uint64_t fired;
};

struct control {
    uint64_t magic;
    uint64_t capacity;
    _Atomic uint64_t head; /* where the next note goes */
    _Atomic uint32_t recording;
    uint32_t unused;
    _Atomic uint64_t calls[8]; /* by operation, on files of the directory */
    struct rule rules[RULES];
};

struct header {
    uint32_t bytes; /* of what follows */
    uint16_t note;
    uint16_t target;
    int32_t fd;
    int32_t error;
    int64_t result;
};

struct file {
    uint32_t target;
    /* Of a log: how far it is written, and from where on it was not synced. */
    uint64_t end, unsynced;
};

static struct control *control;
static char directory[PATH_MAX];
static size_t directory_bytes;
static struct file files[FILES];

#define REAL(name) static __typeof__(name) *real_##name
REAL(open);
REAL(close);
REAL(read);
REAL(readv);
REAL(recv);
REAL(write);
REAL(pwrite);
REAL(writev);
REAL(send);
REAL(sendmsg);
REAL(fsync);
REAL(fdatasync);
REAL(fallocate);
REAL(posix_fallocate);
REAL(rename);
REAL(accept4);

static void give_up(const char *why) {
    fprintf(stderr, "faulty disk: %s: %s\n", why, strerror(errno));
    abort();
}

__attribute__((constructor)) static void begin(void) {
    static atomic_int begun;
    if (atomic_exchange(&begun, 1)) return;
#define FIND(name) real_##name = (__typeof__(real_##name))dlsym(RTLD_NEXT, #name)
    FIND(open), FIND(close), FIND(read), FIND(readv), FIND(recv), FIND(write), FIND(pwrite), FIND(writev), FIND(send);
    FIND(sendmsg), FIND(fsync), FIND(fdatasync), FIND(fallocate), FIND(posix_fallocate), FIND(rename), FIND(accept4);
    const char *path = getenv("FAULTY_DISK_CONTROL"), *watched = getenv("FAULTY_DISK_DIRECTORY");
    if (!path || !watched) return;
    directory_bytes = strlen(watched);
    memcpy(directory, watched, directory_bytes + 1);
    int fd = real_open(path, O_RDWR | O_CLOEXEC);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat)) give_up(path);
    void *shared = mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED) give_up(path);
    control = shared;
    if (control->magic != MAGIC) give_up("not a control file");
    real_close(fd);
}

static void note(enum note kind, int fd, int64_t result, const struct iovec *parts, int count, size_t most) {
    if (!control || !atomic_load(&control->recording)) return;
    int error = errno;
    size_t bytes = 0;
    for (int i = 0; i < count; i++) bytes += parts[i].iov_len;
    if (bytes > most) bytes = most;
    size_t whole = (sizeof(struct header) + bytes + 7) & ~(size_t)7;
    uint64_t at = atomic_fetch_add(&control->head, whole);
    /* Whoever reads the notes sees by the head that they are not whole. */
    if (at + whole > control->capacity) return;
    char *place = (char *)control + at;
    struct header header = {(uint32_t)bytes, (uint16_t)kind, 0, fd, result < 0 ? error : 0, result};
    if (fd >= 0 && fd < FILES) header.target = (uint16_t)files[fd].target;
    char *to = place + sizeof header;
    for (int i = 0; i < count && bytes > 0; i++) {
        size_t some = parts[i].iov_len < bytes ? parts[i].iov_len : bytes;
        memcpy(to, parts[i].iov_base, some);
        to += some;
        bytes -= some;
    }
    memcpy(place, &header, sizeof header);
    errno = error;
}

static void note_path(enum note kind, int fd, int64_t result, const char *path) {
    struct iovec part = {(void *)path, strlen(path)};
    note(kind, fd, result, &part, 1, PATH_MAX);
}

static uint32_t target_of(int fd) { return control && fd >= 0 && fd < FILES ? files[fd].target : 0; }

static int is_ours(const char *path) {
    return control && strncmp(path, directory, directory_bytes) == 0 &&
           (path[directory_bytes] == '/' || path[directory_bytes] == 0);
}

/* Counts down to nothing; what is negative stays. */
static int take(_Atomic int64_t *times) {
    int64_t left = atomic_load(times);
    while (left > 0 && !atomic_compare_exchange_weak(times, &left, left - 1)) {
    }
    return left != 0;
}

/* The rule for this call, if one is due; a delay is served here. */
static struct rule *due(enum operation operation, uint32_t target) {
    if (!target) return NULL;
    atomic_fetch_add(&control->calls[operation], 1);
    for (int i = 0; i < RULES; i++) {
        struct rule *rule = &control->rules[i];
        if (!atomic_load(&rule->active) || rule->operation != operation || !(rule->targets & target)) continue;
        if (atomic_fetch_sub(&rule->skip, 1) > 0) continue;
        if (!take(&rule->times)) continue;
        atomic_fetch_add(&rule->fired, 1);
        if (rule->action != DELAY) return rule;
        usleep(rule->delay_micros);
    }
    return NULL;
}

static int failed(const struct rule *rule) {
    errno = rule->error;
    return -1;
}

static int opened(const char *path, int flags, int fd) {
    if (fd < 0 || fd >= FILES) return fd;
    struct stat stat;
    size_t length = strlen(path);
    uint32_t target = 0;
    if (is_ours(path)) {
        if (fstat(fd, &stat) == 0 && S_ISDIR(stat.st_mode)) target = DIRECTORY;
        else target = length > 4 && strcmp(path + length - 4, ".log") == 0 ? LOG : OTHER;
    }
    files[fd] = (struct file){target, 0, 0};
    if (target) note_path(OPENED, fd, flags, path);
    return fd;
}

static int open_ours(const char *path, int flags, mode_t mode) {
    begin();
    if (is_ours(path) && (flags & (O_WRONLY | O_RDWR | O_CREAT))) {
        size_t length = strlen(path);
        struct rule *rule = due(OPEN, length > 4 && strcmp(path + length - 4, ".log") == 0 ? LOG : OTHER);
        if (rule) return failed(rule);
    }
    return opened(path, flags, real_open(path, flags, mode));
}

#define MODE(flags)                                   \
    mode_t mode = 0;                                  \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {          \
        va_list rest;                                 \
        va_start(rest, flags);                        \
        mode = (mode_t)va_arg(rest, int);             \
        va_end(rest);                                 \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return open_ours(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return open_ours(path, flags, mode);
}

int close(int fd) {
    begin();
    if (target_of(fd)) {
        note(CLOSED, fd, 0, NULL, 0, 0);
        files[fd].target = 0;
    }
    return real_close(fd);
}

int rename(const char *from, const char *to) {
    begin();
    int result = real_rename(from, to);
    struct iovec both[] = {{(void *)from, strlen(from) + 1}, {(void *)to, strlen(to)}};
    if (is_ours(to) && result == 0) note(RENAMED, -1, result, both, 2, 2 * PATH_MAX);
    return result;
}

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags) {
    begin();
    int fd = real_accept4(listener, address, length, flags);
    if (control && fd >= 0 && fd < FILES) {
        files[fd] = (struct file){CONNECTION, 0, 0};
        note(ACCEPTED, fd, 0, NULL, 0, 0);
    }
    return fd;
}

static ssize_t received(int fd, const struct iovec *parts, int count, ssize_t result) {
    if (result > 0 && target_of(fd) == CONNECTION) note(RECEIVED, fd, result, parts, count, (size_t)result);
    return result;
}

ssize_t read(int fd, void *to, size_t bytes) {
    begin();
    struct iovec part = {to, bytes};
    return received(fd, &part, 1, real_read(fd, to, bytes));
}

ssize_t recv(int fd, void *to, size_t bytes, int flags) {
    begin();
    struct iovec part = {to, bytes};
    return received(fd, &part, 1, real_recv(fd, to, bytes, flags));
}

ssize_t readv(int fd, const struct iovec *parts, int count) {
    begin();
    return received(fd, parts, count, real_readv(fd, parts, count));
}

static void answering(int fd, const struct iovec *parts, int count) {
    if (target_of(fd) == CONNECTION) note(ANSWERING, fd, 0, parts, count, ANSWER_BYTES_MAX);
}

ssize_t send(int fd, const void *from, size_t bytes, int flags) {
    begin();
    struct iovec part = {(void *)from, bytes};
    answering(fd, &part, 1);
    return real_send(fd, from, bytes, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    begin();
    answering(fd, message->msg_iov, (int)message->msg_iovlen);
    return real_sendmsg(fd, message, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    begin();
    answering(fd, parts, count);
    return real_writev(fd, parts, count);
}

/* Writes as a rule says: not at all, half, or half and then fails. */
static ssize_t written_badly(const struct rule *rule, int fd, const void *from, size_t bytes, size_t *done) {
    if (rule->action != SHORT && rule->action != TORN) return failed(rule);
    ssize_t half = real_write(fd, from, (bytes + 1) / 2);
    if (half > 0) *done = (size_t)half;
    return rule->action == TORN ? failed(rule) : half;
}

ssize_t write(int fd, const void *from, size_t bytes) {
    begin();
    uint32_t target = target_of(fd);
    struct iovec part = {(void *)from, bytes};
    if (target == CONNECTION) answering(fd, &part, 1);
    if (target == 0 || target == CONNECTION) return real_write(fd, from, bytes);
    struct rule *rule = due(WRITE, target);
    size_t done = 0;
    ssize_t result = rule ? written_badly(rule, fd, from, bytes, &done) : real_write(fd, from, bytes);
    if (!rule && result > 0) done = (size_t)result;
    files[fd].end += done;
    note(WROTE, fd, result, &part, 1, target == LOG ? done : 0);
    return result;
}

ssize_t pwrite(int fd, const void *from, size_t bytes, off_t at) {
    begin();
    struct rule *rule = due(WRITE, target_of(fd));
    if (rule) return failed(rule);
    ssize_t result = real_pwrite(fd, from, bytes, at);
    if (target_of(fd)) note(WROTE, fd, result, NULL, 0, 0);
    return result;
}

/* What a drive that lost power does to what it had not written: nobody finds it again. */
static void lose(int fd) {
    static const char nothing[65536];
    uint64_t at = files[fd].unsynced;
    while (at < files[fd].end) {
        uint64_t some = files[fd].end - at < sizeof nothing ? files[fd].end - at : sizeof nothing;
        if (real_pwrite(fd, nothing, some, (off_t)at) < 0) give_up("lose");
        at += some;
    }
}

static int sync_with(int (*real)(int), int fd) {
    uint32_t target = target_of(fd);
    if (target == 0 || target == CONNECTION) return real(fd);
    uint64_t end = files[fd].end;
    struct rule *rule = due(SYNC, target);
    /* To the notes a program whose fsync does nothing is one that does not call it. */
    if (rule && rule->action == SWALLOW) return 0;
    note(SYNC_BEGAN, fd, 0, NULL, 0, 0);
    if (rule && rule->action == LOSE && target == LOG) lose(fd);
    int result = rule ? failed(rule) : real(fd);
    if (result == 0) files[fd].unsynced = end;
    note(SYNCED, fd, result, NULL, 0, 0);
    return result;
}

int fsync(int fd) {
    begin();
    return sync_with(real_fsync, fd);
}

int fdatasync(int fd) {
    begin();
    return sync_with(real_fdatasync, fd);
}

int fallocate(int fd, int mode, off_t at, off_t bytes) {
    begin();
    struct rule *rule = due(ALLOCATE, target_of(fd));
    return rule ? failed(rule) : real_fallocate(fd, mode, at, bytes);
}

int posix_fallocate(int fd, off_t at, off_t bytes) {
    begin();
    struct rule *rule = due(ALLOCATE, target_of(fd));
    return rule ? rule->error : real_posix_fallocate(fd, at, bytes);
}
