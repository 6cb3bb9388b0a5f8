/* leasehold.h: the Leasehold SDK for programs in C and what can call C.
 *
 * Counts of a feature are taken from an appliance, proved, renewed and given back by the library; a program opens one client and acquires a lease for each thing
 * that it wants to be licensed for. Every function may be called from any thread, at any time, and any number of them at once.
 *
 * Results. A function gives 0, or the number of a code: 3104 is LH-3104, no seat free; leasehold explain 3104 says what it means. What was wrong is kept for the
 * calling thread until its next call of a function of this library that gives a code, and leasehold_last_error and leasehold_error_text tell it. 6001 is a wrong
 * argument, and nothing was done; 6005 is a fault of the library itself.
 *
 * Memory. The library keeps nothing that it is given a pointer to: strings and structures are copied before a function returns. It hands out no memory of its own:
 * texts go into buffers of the caller, end with a zero byte, and are cut between characters where they do not fit. The first member of a structure is its size,
 * which the caller sets, so that a later library knows for which header a program was compiled.
 *
 * Handles. A client is good until leasehold_close, a lease until leasehold_release or until its client is closed. A handle that is good no more, or was never
 * given, is 6001 and harms nothing; no number is given twice in the life of a process.
 *
 * Processes. The library has threads of its own. They do not survive fork(2): a child opens its own client, after execve(2). A signal handler of the program must be
 * set with SA_ONSTACK. The library cannot be unloaded.
 */
#ifndef LEASEHOLD_H
#define LEASEHOLD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LEASEHOLD_ABI 2 /* of this header; 2 has leasehold_acquire_as and leasehold_give_back */

/* The ABI of the library. A program compiled with this header runs with every library that gives LEASEHOLD_ABI or more. */
int32_t leasehold_abi(void);

typedef uint64_t leasehold_client; /* 0 is none */
typedef uint64_t leasehold_lease;  /* 0 is none */

typedef struct leasehold_options {
	size_t size;             /* sizeof(leasehold_options) */
	const char *servers;     /* host:port of the appliance, or several with commas, tried in this order; NULL: 127.0.0.1:7070 */
	const char *trust_file;  /* the producer's trust bundle, */
	const void *trust;       /* or its bytes, as a program embeds it, */
	size_t trust_size;       /* and how many */
	const char *directory;   /* what this device keeps; NULL: leasehold in $XDG_STATE_HOME, or in ~/.local/state */
	const char *user;        /* a claim, not a proof; NULL: none */
	const char *alias;       /* name of this device, for people; NULL: the host name */
	const char *device_type; /* NULL: none */
	int64_t borrow_s;        /* longest time without asking again, in seconds; 0: the server's */
	int64_t timeout_ms;      /* of one exchange, in milliseconds; 0: 10 seconds */
} leasehold_options;

typedef struct leasehold_terms {
	size_t size;      /* sizeof(leasehold_terms) */
	int64_t count;    /* how many counts */
	int64_t wait_ms;  /* as of leasehold_acquire */
	int64_t borrow_s; /* the lease lasts so many seconds without being renewed, for a machine that leaves its network; 0: as leasehold_open says. What is longer than the
	                   * producer or the administrator allows is cut, and leasehold_look says to when */
	int32_t partial;  /* 1: less than count will do, but not nothing; leasehold_look says how many there are. 0: all or nothing */
	int32_t keep;     /* 1: the device holds the counts when this program has ended, until leasehold_release, leasehold_give_back or the end of the lease. 0: it does not */
} leasehold_terms;

typedef struct leasehold_state {
	size_t size;    /* sizeof(leasehold_state) */
	int32_t held;   /* 1 while the lease lasts */
	int32_t why;    /* the code for which it ended; 0 while it lasts */
	int64_t count;  /* how many counts it holds, or held */
	int64_t expiry; /* when it ends unless it is renewed before: seconds since 1970 by this machine's clock */
} leasehold_state;

typedef struct leasehold_usage {
	size_t size;    /* sizeof(leasehold_usage) */
	int64_t total;  /* of the feature that this device has used, with the report */
	uint8_t id[16]; /* of the report, for leasehold_undo; zero: nothing was sent */
} leasehold_usage;

typedef struct leasehold_error {
	size_t size;       /* sizeof(leasehold_error) */
	int32_t code;      /* 3104 for LH-3104; 0: the last call of this thread succeeded */
	uint32_t position; /* in the queue of those who wait, from 1; 0: not in it */
	int64_t asked;     /* counts: what was asked for, */
	int64_t available; /* what could be had, */
	int64_t total;     /* what there is in all, */
	int64_t used;      /* and what of it is in use */
	int64_t until;     /* when it may be otherwise, as the earliest known end of a lease: seconds since 1970; 0: nobody knows */
} leasehold_error;

/* Opens the directory of this device and starts what renews its leases. It asks no server yet. */
int32_t leasehold_open(const leasehold_options *options, leasehold_client *client);

/* Takes counts of a feature, "render" or "render:2026.1": all of them or, with a code, none. It waits at most wait_ms milliseconds for a seat, for the end of a hold
 * or for a server; leasehold_close in another thread ends that. The lease renews itself until it is released. */
int32_t leasehold_acquire(leasehold_client client, const char *feature, int64_t count, int64_t wait_ms, leasehold_lease *lease);

/* The same on other terms: a part of the counts, for the time of a journey, or for longer than this program runs. */
int32_t leasehold_acquire_as(leasehold_client client, const char *feature, const leasehold_terms *terms, leasehold_lease *lease);

/* What has become of a lease. It asks no server, and is cheap enough to be called often. */
int32_t leasehold_look(leasehold_lease lease, leasehold_state *state);

/* One sentence for people when something is not as usual, else nothing: license server not reachable since 14:02, works until 14:15. */
int32_t leasehold_notice(leasehold_lease lease, char *buffer, size_t size);

/* Gives the counts back. The handle is good no more, with a code too: that says that the counts come free later, when a server has heard of it. */
int32_t leasehold_release(leasehold_lease lease);

/* Gives back everything that this device holds of a feature, "render", also what programs that have ended kept: who comes back early frees what was borrowed. Leases of
 * it end in every program of the device. 3203: it holds nothing of it. */
int32_t leasehold_give_back(leasehold_client client, const char *feature);

/* Says that so much more of a metered feature was used; below zero, that so much may be used again, where the producer allows that. With 3302 and an ID in usage
 * the report is on its way, and counts. usage may be NULL. */
int32_t leasehold_report(leasehold_client client, const char *feature, int64_t count, leasehold_usage *usage);

/* Takes one report back while its undo interval runs. */
int32_t leasehold_undo(leasehold_client client, const leasehold_usage *usage);

/* Gives back all leases of a client and ends it, in at most the time of one exchange. With a code too it is closed. */
int32_t leasehold_close(leasehold_client client);

/* What the last call of this thread met. Gives 0, or 6001 for a wrong argument. */
int32_t leasehold_last_error(leasehold_error *error);

/* In words. */
enum {
	LEASEHOLD_SENTENCE = 0, /* LH-3104 no seat free for "render": 40 of 40 in use, 1 asked */
	LEASEHOLD_NEXT = 1,     /* what to do next */
	LEASEHOLD_HOLDERS = 2   /* who has what was refused, a line each, as the site lets others see it; often nothing */
};

/* Gives the length of the text without its zero byte, which may be more than fits; at most 4095. Buffer and size may be NULL and 0. */
size_t leasehold_error_text(int32_t what, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
