/* thumbd: the page, which the Makefile makes from page.html. */
#include "server.h"

const char page_html[] =
#include "examples/thumbd/page.inc"
    ;
const size_t page_html_size = sizeof page_html - 1;
