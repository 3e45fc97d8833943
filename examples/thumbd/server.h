/* thumbd: what its files share.
 *
 *   main.c    the pool, the loop's beginning and end
 *   options.c the command line
 *   listen.c  the listener
 *   conn.c    connections: reading, timers, the polite end
 *   request.c a request's life, and its body
 *   parse.c   bytes to requests, with http-parser
 *   reply.c   replies, written in the order of the requests
 *   route.c   what is done for each path
 *   stats.c   /metrics, /stats.json, how long the loop was held up
 *   thumb.c   the task that runs in workers (with image.c, libgd)
 *   page.c    the page, made from page.html
 *
 * One thread, one loop. A connection holds its unanswered requests in the
 * order they came; a request ends when its reply is written, or, where the
 * client has gone, when the pool says that its task has settled. Nothing is
 * freed but in a close callback, a write callback or a task's callback, so
 * any function may close a connection that its callers still use.
 */
#ifndef THUMBD_SERVER_H
#define THUMBD_SERVER_H

#include <forkpool.h>
#include <http_parser.h>
#include <uv.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_URL 1024
#define MAX_UNANSWERED 4 /* requests of one connection; then reading stops */
#define MAX_HEADERS 16384

struct settings {
    const char *address;
    int port;
    int workers;         /* 0: the CPUs */
    int deadline_ms;     /* of one thumbnail */
    int idle_ms;         /* of one connection */
    int64_t max_body;    /* bytes of a request's body */
    int64_t memory;      /* address space of a worker, bytes; 0: no limit */
    int64_t max_pending; /* thumbnails that wait or run */
    int max_connections;
};

struct connection;

struct server {
    struct settings settings;
    uv_loop_t loop;
    pool_t *pool;
    uv_tcp_t listener;
    uv_signal_t sigterm, sigint;
    uv_prepare_t prepare; /* stats.c */
    struct connection *connections;
    int connection_count;
    int request_count; /* allocated */
    bool draining;     /* stop when the last request has ended */
    bool ended;        /* the pool is being closed */
    uint64_t accepted;
    uint64_t replies[600]; /* by status */
    uint64_t turn_began, turn_idle, turn_cpu;
    uint64_t longest_stall, longest_cpu; /* ns */
    char input[65536]; /* what is being read: used up before the next read */
};

enum request_state {
    RECEIVING,
    WORKING, /* a worker has it, or will */
    READY,   /* there is a reply */
    WRITING
};

struct request {
    struct server *server;
    struct connection *connection; /* NULL: gone */
    struct request *next;          /* on the same connection */
    enum request_state state;

    unsigned method;
    char url[MAX_URL + 1];
    size_t url_length; /* may exceed MAX_URL: too long */
    int hosts;         /* Host headers */
    bool version_10;
    bool keep_alive;
    bool expects;    /* 100 Continue, still to be sent */
    uint64_t began;  /* loop time, ms */
    size_t received; /* bytes of body */
    const struct route *route;
    unsigned char *body; /* begins with room for a struct thumb_order */
    size_t body_capacity;
    pool_future_t *future;

    int status; /* 0: nothing decided yet */
    const char *type;
    const void *reply; /* text, or static, or the future's bytes */
    size_t reply_size;
    char *text; /* malloc'ed */
    char head[768];
    uv_write_t write;
};

struct connection {
    struct server *server;
    struct connection *prev, *next;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_shutdown_t shutdown;
    http_parser parser;
    struct request *first, *last;
    int unanswered;
    int open_handles;
    bool closing;   /* uv_close was called */
    bool eof;       /* the client sends no more */
    bool discard;   /* what comes is not parsed any more */
    bool paused;    /* too many unanswered: reading has stopped */
    bool lingering; /* our side is shut; waits for the client's end */
    char *left;     /* what was read and not parsed when it was paused */
    size_t left_size;
    bool in_value; /* of the header below, whose start is kept: */
    char field[16], value[16];
    size_t field_length, value_length;
};

struct route {
    const char *path;
    const char *allow; /* methods */
    void (*handle)(struct request *r);
};

/* main.c */
_Noreturn void server_fail(const char *what, const char *why);
void server_maybe_end(struct server *s);

/* listen.c */
void listen_begin(struct server *s);
void listen_end(struct server *s);

/* conn.c */
void conn_drain(struct connection *c);
void conn_close(struct connection *c);
void conn_linger(struct connection *c);
void conn_arm(struct connection *c);
void conn_resume(struct connection *c);
void conn_read(struct connection *c);

/* request.c */
struct request *request_new(struct connection *c);
void request_drop(struct request *r);
void request_free(struct request *r);
void request_abandon(struct request *r);
bool request_has_length(const http_parser *parser);
int request_append(
    struct request *r, const http_parser *parser, const char *at, size_t size);

/* parse.c */
extern const http_parser_settings parse_settings;
void parse_input(struct connection *c, const char *data, size_t size);

/* reply.c */
void reply(struct request *r, int status, const char *type, const void *body,
    size_t size);
void reply_text(struct request *r, int status, const char *format, ...)
    POOL_PRINTF(3, 4);
void reply_owned(
    struct request *r, int status, const char *type, char *text, size_t size);
void reply_flush(struct connection *c);

/* route.c */
const struct route *route_find(const struct request *r, int *status);

/* stats.c */
void stats_watch_loop(struct server *s);
void stats_forget_turn(struct server *s);
void stats_reply_metrics(struct request *r);
void stats_reply_json(struct request *r);

/* page.c */
extern const char page_html[];
extern const size_t page_html_size;

#endif
