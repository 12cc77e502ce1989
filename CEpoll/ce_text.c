// Words for people, error texts and thread names, and the allocator's memory. The only calls here
// that pass by the call table, since they make no use of a reactor.
#define _GNU_SOURCE
#include "CEpoll.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

void ce_error_text(int error, char *text, size_t capacity) {
    // The GNU strerror_r returns the text, which need not be in the buffer it was given.
    char buffer[128];
    if (capacity > 0) snprintf(text, capacity, "%s", strerror_r(error, buffer, sizeof buffer));
}

void ce_name_thread(const char *name) {
    char short_name[16];
    snprintf(short_name, sizeof short_name, "%.15s", name);
    (void)pthread_setname_np(pthread_self(), short_name);
}

void ce_return_memory(void) { (void)malloc_trim(0); }
