/* Fork and exit. Both find lanes at work, and oneDNN is prepared for neither: its locks may be held
 * when the process forks, and its static objects are destroyed while the process exits.
 *
 * Fork waits until no lane makes anything or runs it for the first time, since that alone takes
 * oneDNN's locks; the child is told which devices were at work.
 *
 * Exit handlers run in the reverse order of their registration, and oneDNN registers one for each
 * static object when it first needs it, up to the first use of a kernel. So ours is registered anew
 * after everything of a new kind that was made or run: it then stands before all destructors that
 * can matter. It lets no lane in any more and waits for those inside. What is just being made or
 * run for the first time has destructors that stand before the last of our handlers. So a process
 * that exits by its first thread, which is the usual way, first waits for that: the destructors of
 * a thread's own objects run before all exit handlers, and one of them takes `first_times` for
 * good. A first thread that only ends itself (pthread_exit) may run those destructors as well, but
 * then comes the destructor of its key, which exit does not call: it gives `first_times` back. */
#define _GNU_SOURCE /* gettid, readers and writers in the order wanted */
#include "engine/run/process.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/run/device_internal.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/json.h"

enum { KINDS = 1024, PAUSE_NS = 100000, EXIT_PAUSES = 100000 /* ten seconds */, CALL_MS = 2000 };

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static moco_device_t *all_devices;
static atomic_int forking, ending;
static atomic_int holds;              /* of all threads: questions that are being asked … */
static _Thread_local int own_holds;   /* … and of this one                               */
static pthread_rwlock_t *first_times; /* readers make something; a writer exits. Never freed */
static pthread_key_t first_key;       /* has a value in the first thread; made where first_times is */
static atomic_llong give_up;          /* monotonic milliseconds: no call waits for the end any longer; 0 = none has */
static pthread_t exiting;             /* valid while `ending` */
static atomic_ullong kinds[KINDS];    /* seen so far, by open addressing; 0 = free */

/* Sleeps some 0.1 ms. */
static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

static int waited_enough(void)
{
    struct timespec t;
    long long none = 0;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const long long now = (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    atomic_compare_exchange_strong(&give_up, &none, now + CALL_MS);
    return now >= atomic_load(&give_up);
}

static moco_status_t exits(void)
{
    return mo_fail(MOCO_ERR_STATE, "the process is exiting: its lanes have stopped");
}

/* all_lock is held. Lanes other than the calling thread count. */
static int any_inside(mo_inside_t least)
{
    for (moco_device_t *d = all_devices; d != NULL; d = d->after)
        for (int i = 0; i < d->lane_count; i++)
            if (atomic_load(&d->lanes[i].inside) >= (int)least && !pthread_equal(d->lanes[i].thread, pthread_self()))
                return 1;
    return 0;
}

/* An exit must not wait for ever because lanes keep making things: glibc can be told to let the
 * writer go first. Other C libraries cannot; there it may wait for a moment without lanes. */
static void init_first_times(void)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
#ifdef __GLIBC__
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    pthread_rwlock_init(first_times, &attr);
    pthread_rwlockattr_destroy(&attr);
}

/* glibc's way to register the destructor of a thread's own object. Object and destructor belong to
 * libc here, so that this library can be unloaded before. */
extern int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *library) __attribute__((weak));

/* The first thread has ended and the process goes on. A lock that is held already by this thread
 * is not taken again. */
static void first_thread_ended(void *lock)
{
    pthread_rwlock_wrlock(lock);
    atomic_store(&give_up, 0);
    pthread_rwlock_unlock(lock);
}

/* On the process's first thread: its end and exit are told apart from here on. */
static void watch_this_thread(void)
{
    static _Thread_local int watched;
    if (watched)
        return;
    void (*lock)(void) = (void (*)(void))pthread_rwlock_wrlock;
    watched = pthread_setspecific(first_key, first_times) == 0 &&
              __cxa_thread_atexit_impl((void (*)(void *))lock, first_times, *(void **)&lock) == 0;
}

__attribute__((constructor)) static void watch_first_thread(void)
{
    if (__cxa_thread_atexit_impl == NULL || gettid() != getpid())
        return;
    if (pthread_key_create(&first_key, first_thread_ended) != 0)
        return;
    if (mo_calloc(1, sizeof *first_times, &first_times) != MOCO_OK) {
        pthread_key_delete(first_key);
        return;
    }
    init_first_times();
    watch_this_thread();
}

/* Behind this, no thread's end calls into the library any more. */
__attribute__((destructor)) static void forget_first_thread(void)
{
    if (first_times != NULL)
        pthread_key_delete(first_key);
}

/* ---- fork ---- */

static void fork_prepare(void)
{
    json_object_seed(0); /* if a thread is about to draw jansson's seed, wait for it: it has a lock of its own */
    atomic_fetch_sub(&holds, own_holds); /* a driver may start a program while this thread loads it */
    pthread_mutex_lock(&all_lock);
    atomic_store(&forking, 1);
    /* From within a question not for others: they may wait for a lock that this thread has. */
    while (any_inside(MO_MAKING) || (own_holds == 0 && atomic_load(&holds) > 0))
        nap();
    for (moco_device_t *d = all_devices; d != NULL; d = d->after)
        pthread_mutex_lock(&d->lock);
}

static void fork_parent(void)
{
    for (moco_device_t *d = all_devices; d != NULL; d = d->after)
        pthread_mutex_unlock(&d->lock);
    atomic_fetch_add(&holds, own_holds);
    atomic_store(&forking, 0);
    pthread_mutex_unlock(&all_lock);
}

static void fork_child(void)
{
    for (moco_device_t *d = all_devices; d != NULL; d = d->after) {
        mo_device_forked(d);
        pthread_mutex_unlock(&d->lock);
    }
    if (first_times != NULL) {
        init_first_times();
        watch_this_thread(); /* whichever thread forked is the child's first one */
    }
    atomic_store(&holds, own_holds);
    atomic_store(&forking, 0);
    pthread_mutex_unlock(&all_lock);
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}

int mo_process_hold(void)
{
    if (own_holds == 0)
        mo_gate_note(mo_gate_kind("question", "", 0)); /* what is made while it is asked is destroyed after the wait */
    atomic_fetch_add(&holds, 1);
    while (own_holds == 0 && atomic_load(&forking)) {
        atomic_fetch_sub(&holds, 1);
        nap();
        atomic_fetch_add(&holds, 1);
    }
    own_holds++;
    if (own_holds > 1 || !atomic_load(&ending))
        return 1;
    mo_process_release();
    return 0;
}

void mo_process_release(void)
{
    own_holds--;
    atomic_fetch_sub(&holds, 1);
}

/* ---- exit ---- */

static void at_exit(void)
{
    if (atomic_load(&ending))
        return;
    exiting = pthread_self();
    atomic_store(&ending, 1);
    pthread_mutex_lock(&all_lock);
    for (int i = 0; i < EXIT_PAUSES && (any_inside(MO_RUNNING) || atomic_load(&holds) > own_holds); i++)
        nap();
    pthread_mutex_unlock(&all_lock);
}

void mo_process_wait(void)
{
    if (atomic_load(&ending) && !pthread_equal(exiting, pthread_self()))
        while (!waited_enough())
            nap();
}

/* Where `kind` is noted from now on, if it is new; else NULL. A full table knows everything. */
static atomic_ullong *add_kind(uint64_t kind)
{
    kind += kind == 0;
    for (uint64_t i = 0; i < KINDS; i++) {
        atomic_ullong *slot = &kinds[(kind + i) % KINDS];
        unsigned long long found = atomic_load(slot);
        if (found == 0 && atomic_compare_exchange_strong(slot, &found, kind))
            return slot;
        if (found == kind)
            return NULL;
    }
    return NULL;
}

/* A lane begins to make something, but not while the process forks or, for two seconds, exits. */
static moco_status_t begin_making(mo_lane_t *lane)
{
    while (first_times != NULL && pthread_rwlock_tryrdlock(first_times) != 0) {
        if (waited_enough())
            return exits();
        nap();
    }
    atomic_store(&lane->inside, MO_MAKING);
    while (atomic_load(&forking)) {
        atomic_store(&lane->inside, MO_OUTSIDE);
        nap();
        atomic_store(&lane->inside, MO_MAKING);
    }
    return MOCO_OK;
}

void mo_gate_note(uint64_t kind)
{
    atomic_ullong *slot = add_kind(kind);
    if (slot != NULL && atexit(at_exit) != 0)
        atomic_store(slot, 0); /* no memory: the next of the kind asks again */
}

uint64_t mo_gate_kind(const char *operation, const char *implementation, int use)
{
    uint64_t kind = mo_hash_add(MO_HASH_START, (uint64_t)use);
    for (const char *c = operation; *c != '\0'; c++)
        kind = mo_hash_add(kind, (unsigned char)*c);
    for (const char *c = implementation; *c != '\0'; c++)
        kind = mo_hash_add(kind, (unsigned char)*c);
    return kind;
}

/* ---- the gate ---- */

moco_status_t mo_gate_enter(mo_lane_t *lane, mo_inside_t what)
{
    moco_status_t status = MOCO_OK;
    if (what == MO_MAKING)
        status = begin_making(lane);
    else
        atomic_store(&lane->inside, what);
    if (status == MOCO_OK && atomic_load(&ending)) {
        mo_gate_leave(lane);
        status = exits();
    }
    return status;
}

void mo_gate_leave(mo_lane_t *lane)
{
    if (atomic_load(&lane->inside) == MO_MAKING && first_times != NULL)
        pthread_rwlock_unlock(first_times);
    atomic_store(&lane->inside, MO_OUTSIDE);
}

/* ---- the list ---- */

/* Opens oneDNN again. In a process that exits meanwhile, that would run the constructors of
 * libraries once more whose destructors have run already, and then these: the exit waits, and one
 * that has begun is left alone, since no lane computes any more. */
static void find_openmp(void)
{
    while (first_times != NULL && pthread_rwlock_tryrdlock(first_times) != 0) {
        if (waited_enough())
            return;
        nap();
    }
    if (mo_process_hold()) {
        mo_openmp_find();
        mo_process_release();
    }
    if (first_times != NULL)
        pthread_rwlock_unlock(first_times);
}

void mo_process_add(moco_device_t *device)
{
    find_openmp();
    pthread_mutex_lock(&all_lock);
    device->after = all_devices;
    all_devices = device;
    pthread_mutex_unlock(&all_lock);
}

void mo_process_remove(moco_device_t *device)
{
    pthread_mutex_lock(&all_lock);
    moco_device_t **at = &all_devices;
    while (*at != NULL && *at != device)
        at = &(*at)->after;
    if (*at != NULL)
        *at = device->after;
    pthread_mutex_unlock(&all_lock);
}
