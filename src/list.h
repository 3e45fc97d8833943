/* Intrusive doubly linked lists. A node that is in no list points to itself,
 * so that taking it out twice is harmless. */
#ifndef POOL_SRC_LIST_H
#define POOL_SRC_LIST_H

#include <stdbool.h>

#include "util.h"

struct pool__list {
    struct pool__list *next, *prev;
};

#define pool__list_entry(node, type, member) pool__container(node, type, member)

#define pool__list_each(node, head)                                            \
    for (struct pool__list *node = (head)->next,                               \
                           *node##_next = (head)->next->next;                  \
         node != (head); node = node##_next, node##_next = node->next)

static inline void
pool__list_init(struct pool__list *head)
{
    head->next = head->prev = head;
}

static inline bool
pool__list_empty(const struct pool__list *head)
{
    return head->next == head;
}

static inline void
pool__list_append(struct pool__list *head, struct pool__list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void
pool__list_prepend(struct pool__list *head, struct pool__list *node)
{
    pool__list_append(head->next, node);
}

static inline void
pool__list_remove(struct pool__list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = node;
}

#endif
