// The fuzz target for control messages: one input is a control buffer, taken apart as it is, in
// memory of exactly its size. What comes out is put together again and has to come out once more.
// Built by Tests/Fuzz/run, not by the package.
#include "CEpoll.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void require(bool holds, const char *rule) {
    if (holds) return;
    fprintf(stderr, "fuzz: %s\n", rule);
    abort();
}

// Walks a buffer and appends each item to `again`. Returns what the walk ended with.
static int walk(const unsigned char *control, size_t length, void *again, size_t capacity,
                size_t *used, size_t *count) {
    size_t offset = 0;
    struct ce_ancillary_item item;
    for (;;) {
        const size_t before = offset;
        const int result = ce_ancillary_next(control, length, &offset, &item);
        require(offset <= length, "the offset stays in the buffer");
        if (result != 1) {
            require(result == 0 || result == -EBADMSG, "the end or an error");
            require(offset == before, "no item, no step");
            require(ce_ancillary_next(control, length, &offset, &item) == result, "ends again");
            return result;
        }
        const unsigned char *data = item.data;
        require(offset > before, "each item is a step");
        require(data >= control + before && data <= control + length, "data begins inside");
        require(item.length <= (size_t)(control + length - data), "data ends inside");
        require(ce_ancillary_append(again, capacity, used, item.level, item.type, data,
                                    item.length) == 0, "there is room for what fitted");
        ++*count;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length) {
    // Of its exact size each, so that the sanitizer sees one byte too many.
    unsigned char *control = malloc(length + 1);
    if (length > 0) memcpy(control + 1, input, length);  // unaligned, as no caller would have it
    const size_t capacity = length + 2 * sizeof(size_t);
    unsigned char *again = malloc(capacity), *third = malloc(capacity);
    size_t used = 0, count = 0, used_again = 0, count_again = 0;
    walk(control + 1, length, again, capacity, &used, &count);
    require(walk(again, used, third, capacity, &used_again, &count_again) == 0, "whole");
    require(count == count_again && used == used_again, "as many items");
    require(memcmp(again, third, used) == 0, "the same items");
    free(control), free(again), free(third);
    return 0;
}
