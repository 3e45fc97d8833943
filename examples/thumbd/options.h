/* thumbd: the command line. */
#ifndef THUMBD_OPTIONS_H
#define THUMBD_OPTIONS_H

struct settings;

/* Fills SETTINGS. Ends the program where there is nothing to serve: with 0
 * after --help, with 2 and a word about it where something is wrong. */
void options_read(struct settings *settings, int argc, char **argv);

#endif
