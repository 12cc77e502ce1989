// sluice.h: services written in Swift, hosted by a C program that has a loop of its own.
//
// A Swift target registers each service under a name (registerService of the module SluiceC), for
// example in a function that it exports to C; the C program calls that function once, makes a loop,
// starts services on it by name, and then polls the loop's descriptor beside its own:
//
//     struct sluice_loop *loop = sluice_create();
//     int service = sluice_start(loop, "lines", "127.0.0.1", 8888);
//     struct pollfd watched[] = {{.fd = sluice_descriptor(loop), .events = POLLIN}, ...};
//     while (poll(watched, ...) >= 0) {
//         if (watched[0].revents != 0) sluice_turn(loop, 0);
//         ...
//     }
//
// Results: 0 or a positive number; failures are negative: -errno, and sluice_error() says it in
// words. No argument stops the program: a loop that is NULL or was destroyed is -EINVAL, and so is
// a string that is NULL or a number out of its range. (As with free(3), a destroyed loop's address
// may be that of a later loop.)
//
// Threads: sluice_create, sluice_descriptor and sluice_error may be called by any thread. The rest
// of a loop's calls belong to one thread, that of the first of them: others get -EPERM. None of
// them is for a service's own code, which runs inside sluice_turn: it gets -EDEADLK. No thread is
// made for a loop. (A host that is a name and no address is looked up on a thread, and so runs
// whatever a service hands to Sluice's offload; a Swift service may make threads of its own.)
//
// Ownership: the caller's strings are copied. A loop belongs to the caller until sluice_destroy;
// services belong to their loop and are known by numbers.
//
// SIGPIPE is ignored from the first sluice_create on, unless the program handles it.
#ifndef SLUICE_H
#define SLUICE_H

#ifdef __cplusplus
extern "C" {
#endif

struct sluice_loop;

// Makes a loop, which owns three descriptors. NULL if the system refuses them: sluice_error().
struct sluice_loop *sluice_create(void);

// Ends a loop: connections are aborted, services gone, descriptors closed. Returns 0; NULL is fine.
// For an orderly end call sluice_stop for each service first.
int sluice_destroy(struct sluice_loop *loop);

// The descriptor to watch for reading (POLLIN; in epoll level-triggered): it is readable while a
// turn has something to do, timers included, so a program that waits for nothing else misses
// nothing. Do not read from it or close it.
int sluice_descriptor(struct sluice_loop *loop);

// One turn: takes what is ready, runs the services with it, sends what they wrote. If nothing is
// ready it waits so many milliseconds: 0 polls, negative waits until something is. Returns 0;
// -ESHUTDOWN if a service has stopped the loop, which then does nothing any more.
int sluice_turn(struct sluice_loop *loop, int timeout_milliseconds);

// Starts the service registered under this name. The host is an address or a name ("127.0.0.1",
// "::1"), the port 0 to 65535, 0 lets the kernel choose. Takes turns until the service listens,
// meanwhile others of the loop are served; after 10 seconds it is given up. Returns the service's
// number, 1 or more; -ENOENT if there is no such service, -ETIMEDOUT, the errno of the system call
// that failed (-EADDRINUSE, -EACCES, ...), -EHOSTUNREACH if the host has no address, -EIO if the
// service threw something else.
int sluice_start(struct sluice_loop *loop, const char *name, const char *host, int port);

// The port that a service listens on, 0 if it has none; -ENOENT for an unknown number.
int sluice_port(struct sluice_loop *loop, int service);

// Stops a service without waiting for it: the first call closes its listeners and lets its
// connections finish; after the grace they are cancelled, a second later aborted. Returns 1 while
// some are left: take turns as ever and call it again. Returns 0 once all are gone, and the number
// is then unknown: -ENOENT. A later call with grace 0 ends the grace at once.
int sluice_stop(struct sluice_loop *loop, int service, int grace_milliseconds);

// Says in words what the last failed call of this thread failed of; empty if none has. The text
// stays as it is until this thread's next failure or end.
const char *sluice_error(void);

#ifdef __cplusplus
}
#endif
#endif
