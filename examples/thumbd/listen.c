/* thumbd: the listener and what it accepts. */
#define _GNU_SOURCE
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct connection *
conn_new(struct server *s)
{
    struct connection *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->server = s;
    uv_tcp_init(&s->loop, &c->tcp);
    uv_timer_init(&s->loop, &c->timer);
    c->tcp.data = c->timer.data = c->parser.data = c;
    c->open_handles = 2;
    http_parser_init(&c->parser, HTTP_REQUEST);
    c->parser.data = c;
    c->next = s->connections;
    if (c->next != NULL)
        c->next->prev = c;
    s->connections = c;
    s->connection_count++;
    return c;
}

static void
begin(struct connection *c)
{
    struct server *s = c->server;

    s->accepted++;
    if (s->connection_count > s->settings.max_connections) {
        conn_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    conn_arm(c);
    conn_read(c);
}

static void
on_connection(uv_stream_t *listener, int status)
{
    struct connection *c = status == 0 ? conn_new(listener->data) : NULL;

    if (c == NULL)
        return;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0)
        conn_close(c);
    else
        begin(c);
}

/* Stop to listen. What the kernel has accepted for us already is taken first:
 * to close the listener would reset those. */
void
listen_end(struct server *s)
{
    uv_os_fd_t listener;
    int fd;

    uv_fileno((uv_handle_t *)&s->listener, &listener);
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
           0) {
        struct connection *c = conn_new(s);
        if (c == NULL || uv_tcp_open(&c->tcp, fd) < 0) {
            close(fd);
            if (c != NULL)
                conn_close(c);
            break;
        }
        begin(c);
    }
    uv_close((uv_handle_t *)&s->listener, NULL);
}

static void
say_where(struct server *s)
{
    struct sockaddr_storage at;
    int size = sizeof at;
    char name[64] = "";

    uv_tcp_getsockname(&s->listener, (struct sockaddr *)&at, &size);
    if (at.ss_family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&at;
        uv_ip6_name(in6, name, sizeof name);
        printf("listening on [%s]:%d\n", name, ntohs(in6->sin6_port));
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)&at;
        uv_ip4_name(in, name, sizeof name);
        printf("listening on %s:%d\n", name, ntohs(in->sin_port));
    }
    fflush(stdout);
}

void
listen_begin(struct server *s)
{
    const struct settings *settings = &s->settings;
    struct sockaddr_storage at;
    int rc;

    if (uv_ip4_addr(
            settings->address, settings->port, (struct sockaddr_in *)&at) < 0 &&
        uv_ip6_addr(
            settings->address, settings->port, (struct sockaddr_in6 *)&at) < 0)
        server_fail(settings->address, "not an IP address");
    uv_tcp_init(&s->loop, &s->listener);
    s->listener.data = s;
    rc = uv_tcp_bind(&s->listener, (struct sockaddr *)&at, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&s->listener, 1024, on_connection);
    if (rc < 0)
        server_fail("cannot listen", uv_strerror(rc));
    say_where(s);
}
