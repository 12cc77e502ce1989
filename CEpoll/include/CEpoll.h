// CEpoll: the kernel side of the reactor. Floor 0; a C program can use it alone.
//
// Results are 0 or a count, and -errno on failure. EINTR never leaves this floor. Every descriptor
// made here is close-on-exec and nonblocking from birth (an epoll descriptor knows only the first).
// Pointers stay the caller's; nothing is kept but the call table, which is copied. No callbacks.
// One thread at a time uses a reactor; the one exception is ce_wake, which any thread may call
// until ce_reactor_close begins.
//
// The contract stands in one header for each subject; a program includes this one.
#ifndef CEPOLL_H
#define CEPOLL_H

#include "ce_calls.h"
#include "ce_datagram.h"
#include "ce_process.h"
#include "ce_socket.h"
#include "ce_wait.h"

#endif
