/* thumbd: the command line. */
#include "options.h"

#include "server.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "Usage: thumbd [OPTION]...\n"
    "Serve thumbnails: POST a JPEG or PNG to /thumbnail, get a small one.\n"
    "GET / is a page to try it, /metrics has figures for Prometheus.\n"
    "\n"
    "  --address ADDRESS    listen there (127.0.0.1)\n"
    "  --port PORT          0: any, which is printed (8080)\n"
    "  --workers N          processes that decode (0: one a CPU)\n"
    "  --deadline-ms MS     for one thumbnail (5000)\n"
    "  --max-body BYTES     of a request (16777216)\n"
    "  --memory BYTES       address space of a worker beyond what it begins\n"
    "                       with; 0: no limit (536870912)\n"
    "  --max-pending N      thumbnails that wait or run; above it: 503 (64)\n"
    "  --max-connections N  open at once (4096)\n"
    "  --idle-ms MS         for a client to send or take something (30000)\n"
    "  --help               this\n"
    "\n"
    "SIGTERM and SIGINT: finish what is in flight, then end; a second one:\n"
    "end at once.\n";

static _Noreturn void
wrong(const char *name, const char *text, int64_t least, int64_t most)
{
    fprintf(stderr,
        "thumbd: --%s takes a number from %" PRId64 " to %" PRId64
        ", not '%s'\n",
        name, least, most, text);
    exit(2);
}

static int64_t
number(const char *name, const char *text, int64_t least, int64_t most)
{
    char *end;

    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || n < least || n > most)
        wrong(name, text, least, most);
    return n;
}

enum {
    ADDRESS = 256,
    PORT,
    WORKERS,
    DEADLINE,
    MAX_BODY,
    MEMORY,
    MAX_PENDING,
    MAX_CONNECTIONS,
    IDLE,
    HELP
};

static const struct option names[] = {
    {"address", required_argument, NULL, ADDRESS},
    {"port", required_argument, NULL, PORT},
    {"workers", required_argument, NULL, WORKERS},
    {"deadline-ms", required_argument, NULL, DEADLINE},
    {"max-body", required_argument, NULL, MAX_BODY},
    {"memory", required_argument, NULL, MEMORY},
    {"max-pending", required_argument, NULL, MAX_PENDING},
    {"max-connections", required_argument, NULL, MAX_CONNECTIONS},
    {"idle-ms", required_argument, NULL, IDLE},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static void
take(struct settings *settings, int option, const char *name, const char *text)
{
    switch (option) {
    case ADDRESS:
        settings->address = text;
        break;
    case PORT:
        settings->port = (int)number(name, text, 0, 65535);
        break;
    case WORKERS:
        settings->workers = (int)number(name, text, 0, POOL_MAX_WORKERS);
        break;
    case DEADLINE:
        settings->deadline_ms = (int)number(name, text, 1, 3600000);
        break;
    case MAX_BODY:
        settings->max_body = number(name, text, 1, 1 << 30);
        break;
    case MEMORY:
        settings->memory = number(name, text, 0, INT64_MAX);
        break;
    case MAX_PENDING:
        settings->max_pending = number(name, text, 1, 1000000);
        break;
    case MAX_CONNECTIONS:
        settings->max_connections = (int)number(name, text, 1, 1000000);
        break;
    case IDLE:
        settings->idle_ms = (int)number(name, text, 1, 3600000);
        break;
    case HELP:
        fputs(help, stdout);
        exit(0);
    default:
        fprintf(stderr, "Try 'thumbd --help'.\n");
        exit(2);
    }
}

void
options_read(struct settings *settings, int argc, char **argv)
{
    int option, index = 0;

    *settings = (struct settings){
        .address = "127.0.0.1",
        .port = 8080,
        .deadline_ms = 5000,
        .idle_ms = 30000,
        .max_body = 16 << 20,
        .memory = 512 << 20,
        .max_pending = 64,
        .max_connections = 4096,
    };
    while ((option = getopt_long(argc, argv, "", names, &index)) != -1)
        take(settings, option, names[index].name, optarg);
    if (optind < argc) {
        fprintf(stderr, "thumbd: '%s' is no option\n", argv[optind]);
        exit(2);
    }
}
